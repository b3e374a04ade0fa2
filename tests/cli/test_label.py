"""`crm-assets label`: out, in, and beside the judges, on a finished baseline that still verifies."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from crm_assets.audit.verification import verify_baseline
from crm_assets.workspace.project import Project

from .conftest import KEY, Finish, Run


def test_labels_go_round_and_leave_the_baseline_as_it_was(
    run: Run, finish: Finish, project: Project, tmp_path: Path
) -> None:
    paths = finish("noop")
    before = {path: path.read_bytes() for path in paths.folder.rglob("*") if path.is_file()}
    file = tmp_path / "labels.csv"
    out = run("label", "export", "small", KEY, "-o", file)
    assert out.exit_code == 0, out.output
    assert "6 rows to label" in out.stdout
    table = csv.DictReader(io.StringIO(file.read_text("utf-8-sig")))
    rows = [{**row, "label": "no" if index else "yes"} for index, row in enumerate(table)]
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    done = run("label", "import", "small", KEY, file)
    assert done.exit_code == 0, done.output
    assert "6 labels (6 new, 0 changed); 0 rows without one." in done.stdout
    assert "Strict success" in done.stdout
    shown = json.loads(run("label", "show", "small", KEY, "--json").stdout)
    assert shown["sessions"] == {"yes": 1, "no": 5}
    assert shown["session_raters"]["Strict success"]["no_wrong"] == 5

    assert {path: path.read_bytes() for path in paths.folder.rglob("*") if path.is_file()} == before
    found = verify_baseline(project, paths, None)
    assert not found.failed_files
    assert not any("labels" in note for note in found.notes)


def test_what_cannot_be_imported_is_one_sentence(run: Run, finish: Finish, tmp_path: Path) -> None:
    finish("noop")
    file = tmp_path / "labels.csv"
    file.write_text("id,label\nnobody,yes\n")
    refused = run("label", "import", "small", KEY, file)
    assert refused.exit_code == 2
    assert "row 2: ID 'nobody' is no finished session or turn of baseline" in refused.stderr
    assert "Traceback" not in refused.output
