"""Runs against providers at their worst: no session is lost, none is scored wrong, the run ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from crm_assets.errors import ConfigError, InfrastructureError
from crm_assets.llm import LedgerEntry, ModelClient, RetryPolicy, ledger_totals
from crm_assets.offline_models import FaultMix, OfflineServer
from crm_assets.offline_models.faults import FAULT_KINDS
from crm_assets.reporting import RunInfo, compute_metrics
from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import Loop, loop_project, models_at, offline_models, role_of, small_dataset
from tests.atlas.play import NOW
from tests.llm.scripted_server import (
    Faults,
    Recorded,
    Scripted,
    ScriptedServer,
    broken,
    hang,
    rate_limited,
    refused,
    reset,
    truncated,
)
from tests.projects import ProjectDatabases
from tests.waiting import HANG_SECONDS

DOCUMENTS = small_dataset(6)
WORDS_OF_THE_STUDENT = ("truncated_arguments", "unknown_tool", "two_calls")
NO_WORDS = tuple(kind for kind in FAULT_KINDS if kind not in WORDS_OF_THE_STUDENT)
"""The faults that are none of what the student says."""
TIMEOUT = 0.8
"""What a call that does not hang now and then takes, too, where the machine is busy."""


@pytest.fixture(scope="module")
def loop(project_databases: ProjectDatabases) -> Iterator[Loop]:
    """Retries come at once, and time stands still: what a seed's faults hit is always the same."""
    with pytest.MonkeyPatch.context() as patch, loop_project(project_databases) as made:
        patch.setattr("crm_assets.atlas.store._now", lambda: NOW)
        patch.setattr("crm_assets.atlas.model_run.ModelClient", _hasty)
        yield made


def _hasty(*arguments: Any, **settings: Any) -> ModelClient:
    policy = RetryPolicy(100, base_seconds=0.002, longest_seconds=0.1)
    return ModelClient(*arguments, **settings, retries=policy)


def play(loop: Loop, url: str, run: str, *, timeout: float = TIMEOUT, **parts: Any) -> RunFiles:
    files = loop.tasks(DOCUMENTS, run=run)
    config = loop.config(models_at(url, timeout_seconds=timeout), parts, name=run)
    loop.run(files, config, learning="off", concurrency=8)
    return files


def play_lost(loop: Loop, url: str, run: str, **options: Any) -> RunFiles:
    """Play a run whose sessions are all lost, so that it is not finished."""
    with pytest.raises(InfrastructureError, match=r"of \d sessions have no verdict.*is kept"):
        play(loop, url, run, **options)
    return RunFiles(loop.project.baselines / "dev" / run / "atlas")


def verdicts(loop: Loop, files: RunFiles) -> list[Any]:
    """All that is said of the agent."""
    return [
        {
            "session": (line["task_id"].split("::")[0], line["status"], line["final_answer"]),
            "attempts": line["atlas_metadata"]["attempts"],
            "valid": line["atlas_metadata"]["teacher_valid"],
            "reward_status": line["atlas_metadata"]["reward_status"],
            "state_match": line["conversation_result"]["state_match"],
            "overall": line["conversation_result"]["overall_success"],
            "turns": [
                (turn["tool_name"], turn["arguments"], turn["success"], turn["verification"])
                for turn in line["conversation_result"]["per_turn_results"]
            ],
        }
        for line in loop.lines(files)
    ]


def rewards(loop: Loop, files: RunFiles) -> list[float]:
    return [line["session_reward"]["score"] for line in loop.lines(files)]


@pytest.fixture(scope="module")
def undisturbed(loop: Loop) -> RunFiles:
    """The same run on a provider that never fails."""
    with OfflineServer() as server:
        return play(loop, server.url, "undisturbed")


def check_ledger(entries: list[LedgerEntry]) -> int:
    """Every attempt of every call is there; returns how many failed."""
    calls: dict[Any, list[LedgerEntry]] = defaultdict(list)
    for entry in entries:
        calls[entry.session, entry.role, entry.request_sha256, entry.ordinal].append(entry)
    for attempts in calls.values():
        assert [entry.attempt for entry in attempts] == list(range(1, len(attempts) + 1))
        assert attempts[-1].error is None, "a call was given up"
        assert all(entry.error is not None for entry in attempts[:-1])
    return len(entries) - len(calls)


def check_sums(files: RunFiles) -> None:
    """What the metrics say of each role is the sum of its attempts in the ledger, to the digit."""
    metrics = compute_metrics(files.sessions, run=RunInfo())
    totals = ledger_totals(files.ledger)
    assert {role: (used.calls, used.failed_calls) for role, used in metrics.token_usage.items()} == {
        role: (spent.calls, spent.failed_calls) for role, spent in totals.items()
    }
    for role, spent in totals.items():
        used, cost = metrics.token_usage[role], metrics.cost_usd[role]
        assert used.prompt_tokens == spent.usage.prompt_tokens
        assert used.total_tokens == spent.usage.total_tokens
        assert (cost.usd, used.unknown_cost_calls) == (spent.cost_usd, spent.unknown_cost_calls)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_faults_change_no_verdict_and_no_reward(loop: Loop, undisturbed: RunFiles):
    with OfflineServer(faults=FaultMix(rate=0.3, kinds=NO_WORDS, seed=1, retry_after="0")) as server:
        files = play(loop, server.url, "faulty")
    assert verdicts(loop, files) == verdicts(loop, undisturbed)
    assert rewards(loop, files) == rewards(loop, undisturbed)
    entries = loop.ledger(files)
    failed = check_ledger(entries)
    assert failed > 5
    told = [line["atlas_metadata"]["token_usage"] for line in loop.lines(files)]
    assert sum(role["failed_calls"] for usage in told for role in usage.values()) == failed
    assert sum(role["calls"] for usage in told for role in usage.values()) == len(entries)
    check_sums(files)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_every_request_that_was_sent_is_in_the_ledger(loop: Loop, undisturbed: RunFiles):
    kinds = [
        rate_limited(retry_after="0"),
        rate_limited(),
        refused(500),
        refused(503),
        reset(),
        truncated(),
        broken({"choices": "none"}),
        broken([]),
        hang(),
    ]
    with ScriptedServer(offline_models, faults=Faults(0.2, kinds, seed=4)) as server:
        files = play(loop, server.url, "counted")
        sent = len(server.requests)
        assert server.faulty > 5
    entries = loop.ledger(files)
    late = sum(entry.error is not None and entry.error.kind == "timeout" for entry in entries)
    assert sent <= len(entries) <= sent + late  # what was late may not even have been sent
    assert check_ledger(entries) >= server.faulty - late
    assert verdicts(loop, files) == verdicts(loop, undisturbed)


def test_a_context_that_holds_not_even_the_tools_is_said_before_the_rest_is_tried(loop: Loop):
    size = refused(400, "7211 tokens exceed the context size of 4096", type="exceed_context_size_error")
    with (
        ScriptedServer(size) as server,
        pytest.raises(ConfigError, match=r"7211 tokens.*The system prompt and the tools alone"),
    ):
        files = loop.tasks(DOCUMENTS, run="small")
        config = loop.config(models_at(server.url), {"agent": {"tool_mode": "native"}}, name="small")
        loop.run(files, config, agent="student", concurrency=1)
    assert len(server.requests) == 1


def hanging(*roles: str) -> Any:
    def script(request: Recorded) -> Scripted:
        return hang() if role_of(request) in roles else offline_models(request)

    return script


@pytest.fixture
def impatient(loop: Loop) -> Iterator[pytest.MonkeyPatch]:
    """Two attempts a call, none longer than the first, until it is undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crm_assets.llm.observations._LONGEST_TIMEOUT", 1)
        patch.setattr(
            "crm_assets.atlas.model_run.ModelClient",
            lambda *a, **k: ModelClient(*a, **k, retries=RetryPolicy(attempts=2, base_seconds=0.001)),
        )
        yield patch


def test_a_provider_that_hangs_is_not_the_agents_failure(loop: Loop, impatient: pytest.MonkeyPatch):
    with ScriptedServer(hanging("student")) as server:
        files = play_lost(loop, server.url, "hung", timeout=0.1)
    for line in loop.lines(files):
        assert line["status"] == "failed"
        assert line["conversation_result"]["status"] == "infrastructure_error"
        assert line["conversation_result"]["overall_success"] is None
        assert "gave no reply in 2 attempts" in line["conversation_result"]["error_message"]
        assert line["session_reward"] is None
    # What failed is run again, and nothing else.
    impatient.undo()
    with ScriptedServer(offline_models) as server:
        config = loop.config(models_at(server.url, timeout_seconds=TIMEOUT), name="hung")
        again = loop.run(files, config, learning="off")
    assert (again.resumed, again.infrastructure_errors) == (0, 0)


@pytest.mark.usefixtures("impatient")
def test_a_step_timeout_ends_a_session_that_hangs(loop: Loop):
    with ScriptedServer(hanging("student")) as server:
        patient = {"llm": {"timeout_seconds": HANG_SECONDS}}
        files = play_lost(
            loop, server.url, "late", orchestration={"step_timeout_seconds": 2}, agent=patient
        )
        for line in loop.lines(files):
            assert line["status"] == "failed"
            assert "longer than 2 s" in line["conversation_result"]["error_message"]
        assert {entry.error.kind for entry in loop.ledger(files) if entry.error} == {"cancelled"}
        # A replay comes to the same.
        replayed = loop.tasks(DOCUMENTS, run="late-again")
        with pytest.raises(InfrastructureError, match="have no verdict"):
            loop.run(replayed, loop.project.configs / "late.yaml", learning="off", replay=files.ledger)
    # On a busy machine the time may be over before a session's request was sent; that cannot be replayed.
    sent = {entry.session for entry in loop.ledger(files)}
    results = [
        [
            line["conversation_result"]["error_message"]
            for line in loop.lines(one)
            if line["task_id"].partition("::")[0] in sent
        ]
        for one in (files, replayed)
    ]
    assert results[0] == results[1] != []


@pytest.mark.usefixtures("impatient")
def test_judges_that_hang_leave_the_verdicts(loop: Loop, undisturbed: RunFiles):
    with ScriptedServer(hanging("judge", "teacher")) as server:
        patient = {"llm": {"timeout_seconds": HANG_SECONDS}}
        once = {"max_retries": 0, "forced_mode": "paired"}  # no probe, which would have to be quick
        files = play(loop, server.url, "unjudged", timeout=0.1, orchestration=once, agent=patient)
    for line in loop.lines(files):
        assert line["status"] == "succeeded"
        assert line["atlas_metadata"]["reward_status"] == "failed"
        assert line["atlas_metadata"]["teacher_valid"] is None
        assert line["session_reward"] is None
