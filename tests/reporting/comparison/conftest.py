"""Baselines on disk, made of session records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

from ..conftest import Record, failed_turn, session, turn

Baseline = Callable[..., BaselinePaths]

RUN_A, RUN_B = "20260101T000000Z", "20260102T000000Z-b"


@pytest.fixture
def baseline(tmp_path: Path) -> Baseline:
    """Writes the sessions of a run of dataset `dev`."""

    def write(run: str, records: Iterable[Record]) -> BaselinePaths:
        paths = BaselinePaths.of(Project(tmp_path), BaselineKey.of("dev", run))
        paths.folder.mkdir(parents=True, exist_ok=True)
        paths.sessions.write_text("".join(json.dumps(of_run(run, record)) + "\n" for record in records))
        return paths

    return write


def of_run(run: str, record: Record) -> Record:
    """`record` as a session of `run`."""
    metadata = {**record["atlas_metadata"], "run_id": run}
    return {**record, "task_id": f"{record['conversation_id']}::{run}", "atlas_metadata": metadata}


def verdict(conversation: str, success: bool | None, **changes: object) -> Record:
    """A session of one turn that succeeded, failed, or stayed undecided."""
    record = session(conversation, [turn() if success else failed_turn()], **changes)
    if success is None:
        record["conversation_result"] |= {
            "overall_success": None,
            "state_match": None,
            "reward_signal": None,
        }
    return record


def verdicts(successes: Sequence[bool | None], **changes: object) -> list[Record]:
    """A session each, of conversations c-000, c-001, …"""
    return [verdict(f"c-{index:03d}", each, **changes) for index, each in enumerate(successes)]
