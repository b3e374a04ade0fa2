"""Runs that stop because their budget is spent."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from crm_assets.errors import ConfigError, InputError
from crm_assets.llm import LedgerEntry
from crm_assets.reporting.metrics import compute_metrics
from crm_assets.reporting.models import RunInfo
from tests.atlas.loop import Loop, loop_project, models_at, offline_models, small_dataset
from tests.llm.scripted_server import ScriptedServer
from tests.projects import ProjectDatabases

DOCUMENTS = small_dataset(6)
MANY = small_dataset(24)


def amount(entry: LedgerEntry, kind: str) -> float:
    """What a call takes of a budget."""
    return float(entry.usage.total_tokens if kind == "budget_tokens" else entry.cost_usd or 0.0)


@pytest.fixture(scope="module")
def whole(project_databases: ProjectDatabases) -> list[LedgerEntry]:
    """The calls of a run without a budget."""
    with loop_project(project_databases) as loop, ScriptedServer(offline_models) as server:
        files = loop.tasks(DOCUMENTS)
        loop.run(files, loop.config(models_at(server.url)))
        return loop.ledger(files)


@pytest.fixture(scope="module")
def whole_of_many(project_databases: ProjectDatabases) -> list[LedgerEntry]:
    """The calls of a run of `MANY` without a budget, in which nothing is learnt."""
    with loop_project(project_databases) as loop, ScriptedServer(offline_models) as server:
        files = loop.tasks(MANY)
        loop.run(files, loop.config(models_at(server.url)), concurrency=16, learning="off")
        return loop.ledger(files)


def half(whole: list[LedgerEntry], kind: str) -> Any:
    """Half of what a run without a budget takes."""
    limit = sum(amount(entry, kind) for entry in whole) / 2
    return int(limit) if kind == "budget_tokens" else limit


@pytest.mark.parametrize("kind", ["budget_tokens", "budget_usd"])
def test_a_spent_budget_stops_a_run_cleanly_and_a_larger_one_goes_on(
    loop: Loop, whole: list[LedgerEntry], kind: str
):
    limit = half(whole, kind)
    with ScriptedServer(offline_models) as server:
        files, config = loop.tasks(DOCUMENTS), loop.config(models_at(server.url))
        summary = loop.run(files, config, concurrency=1, **{kind: limit})

        # What is done is kept, the rest is not run.
        assert summary.total == 6
        assert 0 < summary.not_run < 6
        lines = loop.lines(files)
        states = Counter(line["status"] for line in lines)
        assert states == {"succeeded": 6 - summary.not_run, "not_run": summary.not_run}
        for line in lines:
            if line["status"] == "not_run":
                assert line["conversation_result"]["overall_success"] is None
                assert line["session_reward"] is None
                assert "budget" in line["conversation_result"]["error_message"]

        # It is kept, and another session would not have fitted.
        entries = loop.ledger(files)
        assert 0.5 * limit < sum(amount(entry, kind) for entry in entries) <= limit * 1.05
        assert len(server.requests) == len(entries)

        # What a session had cost when it was stopped is told.
        metrics = compute_metrics(files.sessions, run=RunInfo())
        assert metrics.not_run == summary.not_run
        assert sum(usage.calls or 0 for usage in metrics.token_usage.values()) == len(entries)

        # A larger one goes on.
        asked, done = len(server.requests), 6 - summary.not_run
        files.reopen()
        larger = loop.run(files, config, concurrency=1, **{kind: limit * 100})
        assert (larger.resumed, larger.not_run, larger.infrastructure_errors) == (done, 0, 0)
        assert {line["status"] for line in loop.lines(files)} == {"succeeded"}
        answered = Counter(
            (entry.session, entry.role, entry.request_sha256, entry.ordinal) for entry in loop.ledger(files)
        )
        assert set(answered.values()) == {1}, "a call was paid for twice"
        assert len(server.requests) > asked
    rows = loop.query("SELECT status, count(*) FROM sessions GROUP BY 1 ORDER BY 1")
    assert ("succeeded", 6) in rows
    assert not any(status == "running" for status, _ in rows)


def test_a_budget_that_is_spent_already_asks_nothing(loop: Loop, whole: list[LedgerEntry]):
    budget = {"budget_tokens": half(whole, "budget_tokens")}
    with ScriptedServer(offline_models) as server:
        files, config = loop.tasks(DOCUMENTS), loop.config(models_at(server.url))
        loop.run(files, config, concurrency=1, **budget)
        asked = len(server.requests)
        files.reopen()
        again = loop.run(files, config, concurrency=1, **budget)
        assert again.not_run
        assert len(server.requests) == asked


@pytest.mark.parametrize("kind", ["budget_tokens", "budget_usd"])
def test_sixteen_sessions_side_by_side_keep_a_budget_and_finish_what_it_suffices_for(
    loop: Loop, whole_of_many: list[LedgerEntry], kind: str
):
    limit = half(whole_of_many, kind)
    with ScriptedServer(offline_models, latency_seconds=0.02) as server:
        files, config = loop.tasks(MANY), loop.config(models_at(server.url))
        summary = loop.run(files, config, concurrency=16, learning="off", **{kind: limit})
        entries = loop.ledger(files)
        assert len(server.requests) == len(entries)
    assert most_at_a_time([entry.session for entry in entries]) > 1, "sessions were not side by side"
    spent = sum(amount(entry, kind) for entry in entries)
    assert 0.75 * limit < spent <= 1.05 * limit
    assert summary.succeeded + summary.failed >= 8
    assert summary.not_run + summary.succeeded + summary.failed == 24
    # Those that began were finished, but for the last few.
    finished = {line["conversation_id"] for line in loop.lines(files) if line["status"] != "not_run"}
    assert len({entry.session for entry in entries} - finished) <= 2
    by_role = compute_metrics(files.sessions, run=RunInfo()).cost_usd
    cost = sum(entry.cost_usd or 0.0 for entry in entries)
    assert sum(role.usd or 0.0 for role in by_role.values()) == pytest.approx(cost, abs=1e-9)


def most_at_a_time(sessions: list[str]) -> int:
    """The most sessions that had begun and were not over, by the sessions of the calls in their order."""
    last = {session: place for place, session in enumerate(sessions)}
    begun = [set(sessions[: place + 1]) for place in range(len(sessions))]
    return max(sum(last[one] >= place for one in seen) for place, seen in enumerate(begun))


@pytest.mark.parametrize("budget", [None, 10**9])
def test_the_longest_go_first_unless_a_budget_may_leave_out_the_rest(loop: Loop, budget: int | None):
    turns = {document["conversation_id"]: len(document["turns"]) for document in DOCUMENTS}
    names = list(turns)
    longest_first = sorted(names, key=lambda name: -turns[name])
    assert longest_first != names, "else nothing is seen here"
    with ScriptedServer(offline_models) as server:
        files, config = loop.tasks(DOCUMENTS), loop.config(models_at(server.url))
        loop.run(files, config, concurrency=1, learning="off", budget_tokens=budget)
    begun = list(dict.fromkeys(entry.session for entry in loop.ledger(files)))
    assert begun == (names if budget else longest_first)


@pytest.mark.parametrize("budget", [{"budget_usd": 0.0}, {"budget_tokens": -1}])
def test_a_budget_of_nothing_is_refused(loop: Loop, budget: dict[str, Any]):
    files, config = loop.tasks(DOCUMENTS[:1]), loop.config(models_at("http://127.0.0.1:1/v1"))
    with pytest.raises(InputError, match=r"^budget_(usd|tokens): Input should be greater than"):
        loop.run(files, config, **budget)


# Which models must be there before anything is spent.

NO_PRICE = {"usd_per_million_prompt_tokens": None, "usd_per_million_completion_tokens": None}


def test_a_budget_in_dollars_wants_to_know_every_price(loop: Loop):
    with ScriptedServer(offline_models) as server:
        config = loop.config(models_at(server.url), {"learning": {"llm": NO_PRICE}})
        with pytest.raises(ConfigError, match="The price of openai/learner is not known"):
            loop.run(loop.tasks(DOCUMENTS[:1]), config, budget_usd=1.0)
        assert not server.requests
        # Nobody asks the learner where nothing is learnt.
        summary = loop.run(loop.tasks(DOCUMENTS[:1], run="two"), config, budget_usd=1.0, learning="off")
        assert (summary.succeeded + summary.failed, summary.not_run) == (1, 0)


ABSENT = {"provider": "gemini", "model": "nobody"}


@pytest.mark.parametrize(
    ("part", "plan", "missing"),
    [
        ({"learning": {"llm": ABSENT}}, {}, True),
        ({"learning": {"llm": ABSENT}}, {"learning": "frozen"}, False),
        ({"teacher": {"llm": ABSENT}}, {}, True),
        ({"teacher": {"llm": ABSENT}}, {"mode": "auto"}, False),
        ({"rim": {"small_model": ABSENT}}, {}, True),
        ({"rim": {"small_model": ABSENT}}, {"agent": "student"}, False),
        ({"rim": {"small_model": ABSENT}, "agent": {"use_llm_judge": True}}, {"agent": "student"}, True),
    ],
)
def test_a_key_is_needed_for_the_models_that_are_asked(
    loop: Loop, part: dict[str, Any], plan: dict[str, Any], missing: bool
):
    with ScriptedServer(offline_models) as server:
        sections = models_at(server.url)
        for name, section in part.items():
            sections[name] = {**sections[name], **section}
        files, config = loop.tasks(DOCUMENTS[:1]), loop.config(sections)
        if missing:
            with pytest.raises(ConfigError, match="gemini/nobody needs a key: set GEMINI_API_KEY"):
                loop.run(files, config, **plan)
            assert not server.requests
        else:
            assert loop.run(files, config, **plan).infrastructure_errors == 0
