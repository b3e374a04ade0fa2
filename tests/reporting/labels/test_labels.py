"""Labels go out as CSV and come back, and agreement with them is what it is by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from crm_assets.errors import InputError
from crm_assets.reporting.labels import (
    export_labels,
    import_labels,
    label_blocks,
    label_figures,
    read_labels,
)
from crm_assets.reporting.markdown import render_blocks
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from ..conftest import RUN_ID, Record, failed_turn, replied, session, turn, unrun
from ..test_judges import judged

Lay = Callable[..., BaselinePaths]
Row = dict[str, str]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Lays down a finished baseline of these sessions."""

    def write(*records: Record) -> BaselinePaths:
        paths = BaselinePaths.of(Project(tmp_path), BaselineKey.of("dev", "20250102T030405Z"))
        paths.folder.mkdir(parents=True, exist_ok=True)
        paths.sessions.write_text("".join(json.dumps(record) + "\n" for record in records))
        return paths

    return write


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        return list(csv.DictReader(handle))


def write(path: Path, rows: Sequence[Row], *, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as handle:
        table = csv.DictWriter(handle, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


def labeled(paths: BaselinePaths, file: Path, labels: dict[str, str], *, unit: str = "session") -> Path:
    """The exported file, with a label for each conversation (or conversation and turn) named."""
    export_labels(paths, file, unit="turn" if unit == "turn" else "session", overwrite=True)
    rows = read(file)
    for row in rows:
        row["label"] = labels.get(row["conversation_id"] + (f"/{row['turn']}" if row["turn"] else ""), "")
    return write(file, rows)


def test_a_row_has_what_happened_and_no_verdict(lay: Lay, tmp_path: Path) -> None:
    wrong = failed_turn(
        2,
        "argument_mismatch",
        expected_arguments={"name": "Secret"},
        argument_mismatch_reason="other name",
        error="No such client.",
        agent_response_text="=1+1",
        result=None,
    )
    paths = lay(judged("a", 0.123, False, turns=[turn(1), wrong]), unrun("b"))
    assert export_labels(paths, tmp_path / "s.csv") == 1
    (row,) = read(tmp_path / "s.csv")
    assert row["id"] == f"a::{RUN_ID}::1"
    assert "User: Please do step 1." in row["transcript"]
    assert "client_search\nname: Acme" in row["transcript"]
    assert "Rejected: No such client." in row["transcript"]
    assert "Reply: =1+1" in row["transcript"]
    whole = (tmp_path / "s.csv").read_text()
    for verdict in ("Secret", "other name", "argument_mismatch", "0.123", "False", "True"):
        assert verdict not in whole
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())

    assert export_labels(paths, tmp_path / "t.csv", unit="turn") == 2
    first, second = read(tmp_path / "t.csv")
    assert (second["id"], second["turn"]) == (f"a::{RUN_ID}::1::2", "2")
    assert (first["before"], second["before"]) == ("", first["transcript"])


def test_a_file_with_labels_is_not_overwritten(lay: Lay, tmp_path: Path) -> None:
    paths = lay(session("a"))
    (tmp_path / "s.csv").write_text("my work")
    with pytest.raises(InputError, match="may hold labels"):
        export_labels(paths, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "my work"


def test_a_draw_is_the_same_for_a_seed(lay: Lay, tmp_path: Path) -> None:
    paths = lay(*(session(f"c-{n}") for n in range(20)))

    def drawn(seed: int) -> list[str]:
        assert export_labels(paths, tmp_path / "s.csv", sample=5, seed=seed, overwrite=True) == 5
        return [row["id"] for row in read(tmp_path / "s.csv")]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "utf-8")])
def test_what_a_spreadsheet_saves_comes_back(
    lay: Lay, tmp_path: Path, delimiter: str, encoding: str
) -> None:
    paths = lay(session("a"), session("b"), session("c"))
    export_labels(paths, tmp_path / "s.csv")
    rows = read(tmp_path / "s.csv")
    for row, label in zip(rows, ("Yes", "FALSE", ""), strict=True):
        row |= {"label": label, "note": "naïve, and “quoted”; twice\nover" if label else ""}
    done = import_labels(paths, write(tmp_path / "s.csv", rows, delimiter=delimiter, encoding=encoding))
    assert done == (2, 2, 0, 1)
    found = read_labels(paths).labels
    assert {key: each.label for key, each in found.items()} == {
        f"a::{RUN_ID}::1": "yes",
        f"b::{RUN_ID}::1": "no",
    }
    assert found[f"a::{RUN_ID}::1"].note == "naïve, and “quoted”; twice\nover"
    assert paths.labels.parent == paths.folder.parent, "the finished baseline's folder stays as it was"
    assert [path.name for path in paths.folder.iterdir()] == ["sessions.jsonl"]
    export_labels(paths, tmp_path / "again.csv")
    assert [row["label"] for row in read(tmp_path / "again.csv")] == ["yes", "no", ""]


def test_labels_are_added_and_replaced_only_on_demand(lay: Lay, tmp_path: Path) -> None:
    paths = lay(session("a"), session("b"))
    import_labels(paths, labeled(paths, tmp_path / "1.csv", {"a": "yes"}))
    other = labeled(paths, tmp_path / "2.csv", {"a": "no", "b": "no"})
    with pytest.raises(InputError, match=r"changes 1 label \(e\.g\. a::.* from yes to no\); add --replace"):
        import_labels(paths, other)
    assert [each.label for each in read_labels(paths).labels.values()] == ["yes"]
    assert import_labels(paths, other, replace=True) == (2, 1, 1, 0)
    assert [each.label for each in read_labels(paths).labels.values()] == ["no", "no"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id,label\n{a},maybe\n", "row 2: label 'maybe' is none of yes, no, unsure;"),
        ("id,label\n{a},maybe\n{b},x\n", r"row 2: label 'maybe' .* \(and 1 more row like it\)"),
        ("id,label\n{a},yes\n{a},no\n", "row 3: ID .* has a label in an earlier row"),
        ("id,label\na::other-run::1,yes\n", "row 2: ID 'a::other-run::1' is no finished session or turn"),
        ("id,label\n{a}::7,yes\n", "no finished session or turn of baseline"),
        ("id,label\n{c},yes\n", "no finished session or turn of baseline"),
        ("id,label\n,yes\n", "row 2: a label without an ID"),
        ("id,label\n{a},\n", "has no label: write yes, no or unsure"),
        ("", "has no column id and no column label"),
        ("id,verdict\n{a},yes\n", "has no column label in its first row"),
        (b"id,label\n\xff,yes\n", "is not UTF-8"),
    ],
)
def test_a_mistake_is_one_sentence_and_loses_nothing(
    lay: Lay, tmp_path: Path, content: str | bytes, sentence: str
) -> None:
    paths = lay(session("a"), session("b"), unrun("c"))
    import_labels(paths, labeled(paths, tmp_path / "good.csv", {"b": "unsure"}))
    before = paths.labels.read_bytes()
    file = tmp_path / "bad.csv"
    if isinstance(content, str):
        content = content.format(**{name: f"{name}::{RUN_ID}::1" for name in "abc"}).encode()
    file.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        import_labels(paths, file)
    assert "\n" not in str(caught.value)
    assert paths.labels.read_bytes() == before


def test_labels_of_other_sessions_are_refused(lay: Lay, tmp_path: Path) -> None:
    paths = lay(session("a"))
    file = labeled(paths, tmp_path / "s.csv", {"a": "yes"})
    import_labels(paths, file)
    paths = lay(session("a", [failed_turn()]))
    for use in (lambda: import_labels(paths, file), lambda: label_figures(paths)):
        with pytest.raises(InputError, match="labels other sessions than the baseline has now"):
            use()


def test_agreement_with_people_is_kappa_with_its_interval(lay: Lay, tmp_path: Path) -> None:
    # Strict success by label: 20 and 15 alike, 5 and 10 not: kappa 0.4. The teacher accepts everything.
    kinds = ((True, "yes", 20), (True, "no", 5), (False, "yes", 10), (False, "no", 15))
    names = [(f"{right}-{label}-{n}", right, label) for right, label, count in kinds for n in range(count)]
    paths = lay(*(judged(name, 0.9 if right else 0.2, right) for name, right, _ in names), judged("x", 0.5))
    labels = {name: label for name, _, label in names} | {"x": "unsure"}
    import_labels(paths, labeled(paths, tmp_path / "s.csv", labels))
    found = label_figures(paths)
    assert found.sessions == {"yes": 30, "no": 20, "unsure": 1}
    strict = found.session_raters["Strict success"]
    assert (strict.yes_right, strict.yes_wrong, strict.no_right, strict.no_wrong) == (20, 5, 10, 15)
    assert strict.without_verdict == 1
    assert strict.kappa.value == pytest.approx(0.4)
    assert strict.kappa.low is not None and strict.kappa.low < 0.4 < (strict.kappa.high or 0.0)
    assert found.session_raters["Reward of 0.5 or more"].kappa == strict.kappa
    assert found.session_raters["Teacher, last attempt"].kappa.value == 0.0
    assert found.rewards is not None
    # Pairs: 20 × 15 in order, 20 × 5 and 10 × 15 tied, of 600.
    assert found.rewards.auc.value == pytest.approx((300 + 125) / 600, abs=1e-6)
    shown = render_blocks(label_blocks(found, None))
    assert "51 labels of sessions: 30 yes, 20 no, 1 unsure." in shown
    assert "35 of 50" in shown


def test_turns_have_their_own_raters(lay: Lay, tmp_path: Path) -> None:
    accepted = turn(
        2, verification="judged_success",
        judge={"call": {"goal": 1, "process": 1, "score": 1, "success": True, "rationale": ""},
               "reply": None, "error": None},
    )  # fmt: skip
    paths = lay(session("a", [turn(1), accepted, replied(3, "mismatch")]), session("b", [failed_turn(1)]))
    words = {"a/1": "yes", "a/2": "no", "a/3": "no", "b/1": "unsure"}
    import_labels(paths, labeled(paths, tmp_path / "t.csv", words, unit="turn"))
    found = label_figures(paths)
    assert (found.sessions, found.turns) == ({}, {"yes": 1, "no": 2, "unsure": 1})
    table = {
        rater: (each.yes_right, each.yes_wrong, each.no_right, each.no_wrong, each.without_verdict)
        for rater, each in found.turn_raters.items()
    }
    assert table == {
        "Turn success": (1, 1, 0, 1, 1),
        "Tool call": (1, 2, 0, 0, 1),
        "Reply": (0, 0, 0, 1, 3),
        "Turn judge, where it was asked": (0, 1, 0, 0, 3),
    }
    assert found.rewards is None


def test_words_that_are_all_the_same_leave_kappa_undefined(lay: Lay, tmp_path: Path) -> None:
    paths = lay(session("a"), session("b"))
    import_labels(paths, labeled(paths, tmp_path / "s.csv", {"a": "yes", "b": "yes"}))
    found = label_figures(paths)
    assert found.session_raters["Strict success"].kappa.value is None
    assert "Kappa is undefined, which is not 0, for Strict success" in render_blocks(
        label_blocks(found, None)
    )


def test_without_labels_the_next_step_is_told(lay: Lay) -> None:
    assert "label export" in render_blocks(label_blocks(label_figures(lay(session("a"))), None))
