"""A changed byte is found and named, and so is a figure that does not follow from the sessions."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from crm_assets.audit import MANIFEST_NAME, write_manifest
from crm_assets.audit.models import DagsterRecords, Materialized, Verification
from crm_assets.audit.verification import verify_baseline
from crm_assets.generator import write_dataset
from crm_assets.llm import Ledger
from crm_assets.llm.entries import LedgerEntry
from crm_assets.reporting import page_code
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.manifest import published_files
from crm_assets.workspace.project import Project
from tests.audit.conftest import DATASET, KEY, write_pages

FILES = (
    "README.md",
    MANIFEST_NAME,
    "metrics.json",
    "revision.json",
    "run.json",
    "sessions.jsonl",
    "tasks.jsonl",
)
NOTHING = DagsterRecords(runs=(), materializations=())


def problems(verification: Verification) -> dict[str, str]:
    return {check.file: check.problem for check in verification.checks if check.problem is not None}


def test_a_baseline_as_it_was_made_passes(project: Project, paths: BaselinePaths) -> None:
    verification = verify_baseline(project, paths, NOTHING)
    assert problems(verification) == {}
    assert verification.passed
    looked_at = {check.file for check in verification.checks}
    assert looked_at == {*FILES, DATASET}
    assert [note for note in verification.notes if "Dagster" not in note] == []


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_in_any_file_fails_and_names_it_alone(
    project: Project, paths: BaselinePaths, name: str
) -> None:
    path = paths.folder / name
    whole = bytearray(path.read_bytes())
    at = random.Random(name).randrange(len(whole))
    whole[at] ^= 1
    path.write_bytes(bytes(whole))
    assert verify_baseline(project, paths, NOTHING).failed_files == (name,)


@pytest.mark.parametrize("name", sorted({*FILES} - {"sessions.jsonl"}))
def test_a_file_that_is_gone_is_named(project: Project, paths: BaselinePaths, name: str) -> None:
    (paths.folder / name).unlink()
    assert name in verify_baseline(project, paths, NOTHING).failed_files


def test_a_file_that_came_later_is_noted_and_fails_nothing(project: Project, paths: BaselinePaths) -> None:
    (paths.folder / "notes.txt").write_text("by hand")
    verification = verify_baseline(project, paths, NOTHING)
    assert verification.passed
    assert any(note.startswith("notes.txt is not in") for note in verification.notes)


def test_a_changed_dataset_is_named(project: Project, paths: BaselinePaths) -> None:
    write_dataset(project.dataset_file(KEY.dataset), 7, seed=11)
    found = problems(verify_baseline(project, paths, NOTHING))
    assert list(found) == [DATASET]
    assert "has changed" in found[DATASET]


def test_a_dataset_that_is_gone_is_named_alone(project: Project, paths: BaselinePaths) -> None:
    project.dataset_file(KEY.dataset).unlink()
    found = problems(verify_baseline(project, paths, NOTHING))
    assert list(found) == [DATASET]
    assert "is missing" in found[DATASET]


def test_without_a_manifest_figures_that_do_not_follow_are_still_found(
    project: Project, paths: BaselinePaths
) -> None:
    (paths.folder / MANIFEST_NAME).unlink()
    metrics = orjson.loads(paths.metrics.read_bytes())
    metrics["strict_success"]["successes"] += 1
    paths.metrics.write_bytes(orjson.dumps(metrics, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    paths.readme.write_text(paths.readme.read_text().replace("0 of 6", "1 of 6", 1))
    found = problems(verify_baseline(project, paths, NOTHING))
    assert set(found) == {MANIFEST_NAME, "metrics.json", "README.md"}
    assert "strict_success.successes is 1, and from the sessions it is 0" in found["metrics.json"]
    assert "differs in 1 line: line 3 reads" in found["README.md"]


def test_figures_that_another_version_wrote_are_told_from_changed_ones(
    project: Project, paths: BaselinePaths
) -> None:
    paths.readme.write_text(paths.readme.read_text() + "\nAn older version said goodbye.\n")
    write_manifest(paths, written_by=page_code())  # as if it had been written so
    found = problems(verify_baseline(project, paths, NOTHING))
    assert list(found) == ["README.md"]
    assert "another version of crm_assets" in found["README.md"]


def test_other_tasks_than_were_run_are_found(project: Project, paths: BaselinePaths) -> None:
    lines = paths.tasks.read_bytes().splitlines(keepends=True)
    paths.tasks.write_bytes(b"".join(reversed(lines)))
    write_pages(project, paths)  # sealed anew: run.json alone knows
    found = problems(verify_baseline(project, paths, NOTHING))
    assert "run.json has another hash" in found["tasks.jsonl"]


def test_another_agent_in_run_json_is_found(project: Project, paths: BaselinePaths) -> None:
    document = orjson.loads(paths.run.read_bytes())
    paths.run.write_bytes(orjson.dumps({**document, "agent": {"name": "replay"}}))
    write_manifest(paths, written_by=page_code())
    found = problems(verify_baseline(project, paths, NOTHING))
    assert found["run.json"] == (
        "run.json names another agent, or other settings of it, than metrics.json."
    )
    assert "agent_config.name" in found["metrics.json"]


def test_what_dagster_recorded_counts_too(project: Project, paths: BaselinePaths) -> None:
    def materialized(sha256: str) -> DagsterRecords:
        event = Materialized(
            asset="baseline_metrics",
            run_id=None,
            at="2026-01-31T09:30:00+00:00",
            file="metrics.json",
            sha256=sha256,
            code_version=None,
        )
        return DagsterRecords(runs=(), materializations=(event,))

    right = verify_baseline(project, paths, materialized(sha256_of_file(paths.metrics)))
    assert right.passed
    assert any(check.what == "hash as when baseline_metrics was materialized" for check in right.checks)
    wrong = verify_baseline(project, paths, materialized("0" * 64))
    assert wrong.failed_files == ("metrics.json",)
    assert any("storage does not answer" in note for note in verify_baseline(project, paths, None).notes)


def published(*manifests: dict[str, str]) -> DagsterRecords:
    return DagsterRecords(runs=(), materializations=(), published=manifests)


def test_a_manifest_that_was_made_to_fit_a_changed_file_is_found(
    project: Project, paths: BaselinePaths
) -> None:
    recorded = published_files(paths)
    assert {*recorded} == {*FILES}
    assert verify_baseline(project, paths, published(recorded)).passed
    (paths.folder / "report.html").write_text("<p>All of them right.</p>")
    paths.readme.write_text(paths.readme.read_text() + "\n")
    write_manifest(paths, written_by="another version")
    assert verify_baseline(project, paths, NOTHING).passed, "the manifest alone says nothing"
    verification = verify_baseline(project, paths, published(recorded))
    assert set(verification.failed_files) == {MANIFEST_NAME, "README.md"}
    assert any(note.startswith("report.html is not in what Dagster") for note in verification.notes)


def test_a_baseline_that_was_replaced_and_restored_is_the_one_that_was_recorded(
    project: Project, paths: BaselinePaths
) -> None:
    then, now = published_files(paths), dict.fromkeys(FILES, "0" * 64)
    assert verify_baseline(project, paths, published(now, then)).passed
    assert not verify_baseline(project, paths, published(now)).passed


def test_hidden_and_unfinished_files_are_named(project: Project, paths: BaselinePaths) -> None:
    for name in (".sessions.jsonl.x1", "plots/.hidden", "sessions.jsonl.partial"):
        (paths.folder / name).parent.mkdir(exist_ok=True)
        (paths.folder / name).write_text("")
        notes = verify_baseline(project, paths, NOTHING).notes
        assert any(note.startswith(f"{name} is hidden or unfinished") for note in notes), name


def call(session: str, **changes: Any) -> LedgerEntry:
    return LedgerEntry(
        **{
            "session": session,
            "role": "student",
            "model": "offline/student",
            "request_sha256": "0" * 64,
            "ordinal": 1,
            "attempt": 1,
            "started_at": "2026-01-31T09:30:00+00:00",
            "latency_seconds": 0.1,
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "cost_usd": 0.25,
            **changes,
        }
    )


def test_a_ledger_that_sums_to_something_else_is_found(project: Project, paths: BaselinePaths) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "calls": 1, "failed_calls": 0}
    lines = []
    with Ledger(paths.ledger) as ledger:
        for line in paths.sessions.read_bytes().splitlines():
            session = orjson.loads(line)
            session["atlas_metadata"] |= {"token_usage": {"student": usage}, "cost_usd": {"student": 0.25}}
            lines.append(orjson.dumps(session) + b"\n")
            ledger.append(call(session["conversation_id"]))
    paths.sessions.write_bytes(b"".join(lines))
    write_pages(project, paths)
    assert problems(verify_baseline(project, paths, NOTHING)) == {}

    whole = paths.ledger.read_bytes()
    for changes, sentence in (
        ({"ordinal": 2}, "The ledger has 70 prompt tokens of student, and the sessions have 60."),
        ({"prompt_tokens": 0, "completion_tokens": 0}, "The ledger has 7 calls of student"),
        ({"role": "judge"}, "The role judge is in the ledger alone."),
    ):
        paths.ledger.write_bytes(whole)
        with Ledger(paths.ledger) as ledger:
            ledger.append(call("x", **changes))
        write_pages(project, paths)
        found = problems(verify_baseline(project, paths, NOTHING))
        assert found["ledger.jsonl"].startswith(sentence)
        assert list(found) == ["ledger.jsonl"]

    paths.ledger.write_bytes(whole.replace(b'"cost_usd":0.25', b'"cost_usd":0.50', 1))
    write_pages(project, paths)
    found = problems(verify_baseline(project, paths, NOTHING))
    assert found == {"ledger.jsonl": "The ledger has $1.75 of student, and the sessions have $1.5."}
