"""The session log of a run: header, summaries and whole sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.errors import InputError
from crm_assets.records import (
    RUN_SCHEMA_VERSION,
    ConversationResult,
    FinalPayload,
    LoopFacts,
    LoopSession,
    RunHeader,
    SessionFacts,
    SessionLog,
    SessionRecord,
    merge_software,
)
from crm_assets.records.trace import SessionReward, SessionTrace, TraceEvent
from crm_assets.workspace.files import json_line, write_json

RUN = "20260101T000000Z-abc"
HEADER = RunHeader(run_id=RUN, dataset="dev", agent={"name": "replay", "epochs": 2}, code="c0de")


def result(name: str, **changes: Any) -> ConversationResult:
    made = ConversationResult(
        schema_version=1,
        conversation_id=name,
        status="completed",
        overall_success=True,
        turns_executed=0,
        failed_at_turn=None,
        per_turn_results=(),
        reward_signal=1.0,
        error_message=None,
        metadata={},
        per_segment_results=(),
        chain_success=None,
        state_match=True,
        state_diff={},
    )
    return replace(made, **changes)


def record(name: str = "c-1", **changes: Any) -> SessionRecord:
    made = SessionRecord(
        schema_version=RUN_SCHEMA_VERSION,
        conversation_id=name,
        task_id=f"{name}::{RUN}",
        epoch=1,
        status="succeeded",
        final_payload=FinalPayload(),
        conversation_result=result(name),
        atlas_metadata=SessionFacts(execution_mode="harness"),
    )
    return replace(made, **changes)


def looped(name: str, **trace: Any) -> LoopSession:
    facts = LoopFacts(learning_key="k", attempts=2, session_reward=SessionReward(score=0.5))
    own = {**vars(record(name)), "atlas_metadata": facts}
    return LoopSession(**own, **vars(SessionTrace(**trace)))


def write(folder: Path, *records: SessionRecord, header: RunHeader | None = HEADER) -> SessionLog:
    path = folder / "sessions.jsonl"
    path.write_bytes(b"".join(json_line(each) for each in records))
    if header is not None:
        write_json(folder / "run.json", header.model_dump())
    return SessionLog(path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    session = looped("c-1", task="A task", trajectory_events=(TraceEvent("TASK_START", "mode", "atlas"),))
    log = write(tmp_path, record("c-0"), session)
    assert log.header == HEADER
    assert (log.header.epochs, log.header.agent_name) == (2, "replay")
    assert next(iter(log.harness_records())) == record("c-0")
    _, again = log.records()
    assert again == session
    assert [event.name for event in again.events("mode")] == ["mode"]
    (_, _, _), (number, offset, summary) = log.summaries()
    assert (number, summary.reward, summary.atlas_metadata.attempts) == (2, 0.5, 2)
    assert log.record(offset) == session


def test_facts_of_the_run_are_in_no_line(tmp_path: Path) -> None:
    log = write(tmp_path, record())
    assert set(orjson.loads(log.sessions.read_bytes())["atlas_metadata"]) == {
        "workflow_category",
        "complexity_level",
        "execution_mode",
        "session_reward",
        "reward_stats",
        "token_usage",
        "cost_usd",
        "imported",
        "replay_of",
    }


def test_a_summary_does_not_parse_the_trace(tmp_path: Path) -> None:
    log = write(tmp_path, looped("c-1", task="A task"))
    line = log.sessions.read_bytes()
    log.sessions.write_bytes(line.replace(b'"task":"A task"', b'"task":A task')[:-2] + b"}\n")
    ((_, _, summary),) = log.summaries()
    assert summary.reward == 0.5
    with pytest.raises(InputError, match="line 1 is no session that can be shown"):
        list(log.records())


def test_a_key_of_the_trace_in_a_call_does_not_end_a_summary(tmp_path: Path) -> None:
    hostile = {"a": 1, "task": {"b": [{"c": 1, "task": "x"}]}}
    log = write(
        tmp_path, replace(looped("c-1", task="t"), conversation_result=result("c-1", state_diff=hostile))
    )
    ((_, _, summary),) = log.summaries()
    assert (summary.strict_success, summary.atlas_metadata.attempts) == (True, 2)


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_torn_line_is_refused(tmp_path: Path, cut: int) -> None:
    log = write(tmp_path, looped("c-1", task="A task"))
    log.sessions.write_bytes(log.sessions.read_bytes()[:-cut] if cut > 1 else b"{\n")
    with pytest.raises(InputError, match="line 1 is not a session"):
        list(log.summaries())


def test_a_session_of_another_run_is_refused(tmp_path: Path) -> None:
    log = write(tmp_path, record("c-1"), record("c-2", task_id="c-2::another"))
    with pytest.raises(InputError, match=r"line 2: task 'c-2::another' is not of run 20260101T000000Z-abc"):
        list(log.summaries())


def test_a_task_that_stands_twice_is_refused_and_its_epochs_are_not(tmp_path: Path) -> None:
    assert len(list(write(tmp_path, record("c-1"), record("c-1", epoch=2)).summaries())) == 2
    with pytest.raises(InputError, match=r"line 3: task 'c-1::.*' already stands in line 1"):
        list(write(tmp_path, record("c-1"), record("c-2"), record("c-1")).summaries())


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"{", "Cannot read .*run.json"),
        (b'{"schema_version": 3}', "has schema_version 3, and this version of crm_assets reads up to 2"),
        (b'{"schema_version": 2, "agent": "me"}', "is no run header .agent: "),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, document: bytes, sentence: str) -> None:
    log = write(tmp_path, record())
    log.sessions.with_name("run.json").write_bytes(document)
    with pytest.raises(InputError, match=sentence):
        _ = SessionLog(log.sessions).header


def test_sessions_without_their_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"line 1 has schema_version 2, and run\.json beside it goes with 1"
    ):
        list(write(tmp_path, record(), header=None).summaries())


def test_search_parses_only_the_lines_that_hold_the_text(tmp_path: Path) -> None:
    log = write(tmp_path, record("north"), record("south"))
    log.sessions.write_bytes(b"{torn\n" + log.sessions.read_bytes())
    assert [entry.session.conversation_id for entry in log.search("sou")] == ["south"]


def test_two_versions_of_software_are_both_named_once() -> None:
    first, second = {"a": "1", "b": "1"}, {"a": "2", "b": "1"}
    assert merge_software(first, second) == {"a": "1, 2", "b": "1"}
    assert merge_software(merge_software(first, second), first) == {"a": "1, 2", "b": "1"}
