"""The store: what a session leaves is whole, once, and by its own key."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from subprocess import run
from typing import Any

import psycopg
import pytest

from crm_assets.atlas.outcomes import PastSession
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.telemetry import Review, SessionEnd, TelemetryStore, TrajectoryEvent
from crm_assets.atlas.telemetry import store as store_module
from crm_assets.database import Databases
from crm_assets.errors import InfrastructureError

from .build import KEY, NO_REWARD, RUN, end, learn, reward, start

Query = Callable[..., list[Any]]


def stored(store: TelemetryStore, **changes: Any) -> int:
    """A finished session."""
    session = store.begin(start())
    store.persist(session, end(**changes))
    return session


# --- several projects


def test_projects_with_the_same_run_in_one_database_do_not_meet(
    telemetry_database: str, query: Query
) -> None:
    with (
        TelemetryStore(telemetry_database, project="one") as one,
        TelemetryStore(telemetry_database, project="two") as two,
    ):
        ours, theirs = one.begin(start()), two.begin(start())
        two.fail_earlier(RUN, start().session_key)
        assert query("SELECT id FROM sessions WHERE status = 'running'") == [(ours,)]
        one.persist(ours, end())
        assert one.stored_session(RUN, start().session_key) == ours
        assert two.stored_session(RUN, start().session_key) is None
        assert (one.session_ids(RUN), two.session_ids(RUN)) == (
            {start().session_key: ours},
            {start().session_key: theirs},
        )


def test_sessions_of_older_versions_are_of_every_project(telemetry_database: str) -> None:
    with TelemetryStore(telemetry_database) as older:
        session = stored(older)
    with TelemetryStore(telemetry_database, project="one") as one:
        assert one.stored_session(RUN, start().session_key) == session


# --- one session


def test_a_session_that_begins_runs(store: TelemetryStore, query: Query) -> None:
    session = store.begin(start())
    [(task, status, metadata, completed)] = query(
        "SELECT task, status, metadata, completed_at FROM sessions WHERE id = %s", session
    )
    assert (task, status, completed) == ("Work on conversation c-1.", "running", None)
    assert metadata["learning_key"] == KEY
    assert metadata["conversation_id"] == "c-1"
    assert set(metadata["writer"]) == {"lock", "host", "pid"}


def test_all_that_it_leaves_is_stored(store: TelemetryStore, query: Query) -> None:
    session = stored(store, review=Review("pending", "Look at it."))
    [row] = query(
        "SELECT status, final_answer, reward, reward_stats, reward_audit, student_learning, "
        "teacher_learning, review_status, review_notes, metadata, completed_at > created_at FROM sessions"
    )
    assert row[:2] == ("succeeded", "All is done.")
    assert (row[2]["score"], row[3]["score"], len(row[4])) == (0.75, 0.75, 3)
    assert row[5:9] == ("Search before you write.", "Ask for the search.", "pending", "Look at it.")
    assert row[9]["execution_mode"] == "paired"
    assert row[9]["conversation_id"] == "c-1", "what was there from the start stays"
    assert row[10] is True
    [(plan,)] = query("SELECT plan FROM plans WHERE session_id = %s", session)
    assert [step["id"] for step in plan["steps"]] == [1, 2, 3, 4, 5]
    steps = query("SELECT step_id, trace, output, evaluation, attempts, metadata FROM step_results")
    assert [step[0] for step in steps] == [1, 2, 3, 4, 5]
    assert steps[1][1:3] == (end().steps[1].trace, "Number 2 is done.")
    assert steps[1][3]["reward"]["score"] == 0.75
    assert steps[1][3]["validation"] == {"valid": True}
    assert steps[1][4:] == (2, {"success": True, "verification": "exact_match"})
    attempts = query("SELECT step_id, attempt, evaluation FROM step_attempts ORDER BY 1, 2")
    assert [row[:2] for row in attempts] == [(step, tried) for step in range(1, 6) for tried in (1, 2)]
    assert attempts[0][2]["validation"]["guidance"] == "Search for the client first."


def test_guidance_and_events_are_in_order(store: TelemetryStore, query: Query) -> None:
    events = tuple(TrajectoryEvent("CUSTOM_START", f"event {number}", "student") for number in range(150))
    stamped = TrajectoryEvent("CUSTOM_END", "last", "student", 1_760_000_000.5)
    stored(store, guidance=("one", "two", "three"), events=(*events, stamped))
    assert query("SELECT step_id, sequence, note FROM guidance_notes ORDER BY 2") == [
        (1, 1, "one"),
        (1, 2, "two"),
        (1, 3, "three"),
    ]
    rows = query("SELECT event, extract(epoch FROM created_at)::float FROM trajectory_events ORDER BY id")
    assert [event["name"] for event, _ in rows] == [*(f"event {n}" for n in range(150)), "last"]
    assert rows[-1][1] == 1_760_000_000.5


def test_a_reward_that_failed_is_no_number(store: TelemetryStore, query: Query) -> None:
    stored(store, reward=NO_REWARD)
    stored(store, reward=None)
    rows = query("SELECT reward, reward_stats, reward_audit FROM sessions ORDER BY id")
    assert rows == [(None, None, [{"stage": "tier1", "error": "no"}]), (None, None, None)]


def test_a_session_without_a_turn_is_stored(store: TelemetryStore, query: Query) -> None:
    lost = SessionEnd("failed", None, None, error="The model could not be had.")
    store.persist(store.begin(start()), lost)
    [(status, metadata)] = query("SELECT status, metadata FROM sessions")
    assert (status, metadata["error"]) == ("failed", "The model could not be had.")
    assert query("SELECT count(*) FROM step_results") == [(0,)]


def test_whatever_a_model_said_is_stored(store: TelemetryStore, query: Query) -> None:
    nasty = "a\0b\ud800c"
    step = replace(end().steps[0], tool_params={nasty: [nasty, 2**80, float("nan")]}, output=nasty)
    session = store.begin(start(task=nasty, metadata={"conversation_id": nasty}))
    store.persist(
        session,
        end(
            steps=(step,),
            final_answer=nasty,
            student_note=nasty,
            teacher_note=nasty,
            guidance=(nasty,),
            review=Review("pending", nasty),
        ),
        lambda state: state.model_copy(update={"student_learning": nasty}),
    )
    clean = "a\ufffdb\ufffdc"
    assert query(
        "SELECT task, final_answer, student_learning, teacher_learning, review_notes FROM sessions"
    ) == [(clean,) * 5]
    [(plan,)] = query("SELECT plan FROM plans")
    assert plan["steps"][0]["tool_params"] == {clean: [clean, 2**80, None]}
    assert query("SELECT output FROM step_results") == [(clean,)]
    assert store.learning_state(KEY).student_learning == clean


def test_a_session_is_stored_once(store: TelemetryStore, query: Query) -> None:
    session = stored(store)
    for unknown in (session, 4711):
        with pytest.raises(InfrastructureError) as caught:
            store.persist(unknown, end(), learn)
        assert str(caught.value) == (
            f"Session {unknown} is not in the telemetry database, or is stored already."
        )
    assert query("SELECT count(*) FROM trajectory_events") == [(7,)]
    assert store.learning_state(KEY) == LearningState()


def test_what_fails_in_the_middle_leaves_nothing(store: TelemetryStore, query: Query) -> None:
    session = store.begin(start())

    def fail(_: LearningState) -> LearningState:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.persist(session, end(), fail)
    twice = end(steps=(end().steps[0],) * 2)
    with pytest.raises(InfrastructureError, match=r"^The telemetry database failed \(ERROR: duplicate key"):
        store.persist(session, twice, learn)
    assert query("SELECT status FROM sessions") == [("running",)]
    assert query("SELECT count(*) FROM plans") == [(0,)]
    assert query("SELECT count(*) FROM learning_registry") == [(0,)]
    store.persist(session, end())


# --- learning


def test_what_is_learnt_is_kept_and_told(store: TelemetryStore, query: Query) -> None:
    assert store.learning_state(KEY) == LearningState()
    merged = store.persist(store.begin(start()), end(), learn)
    assert merged == store.learning_state(KEY) == learn(LearningState())
    [(kept,)] = query("SELECT metadata -> 'learning_state' FROM sessions")
    assert kept["metadata"]["playbook_entries"][0]["id"] == "e-1"
    assert store.persist(store.begin(start()), end()) is None
    assert store.learning_state("b" * 64) == LearningState()


def test_a_merge_that_changes_nothing_writes_nothing(store: TelemetryStore, query: Query) -> None:
    store.persist(store.begin(start()), end(), learn)
    before = query("SELECT xmin::text, updated_at FROM learning_registry")
    store.persist(store.begin(start()), end(), lambda state: state)
    assert query("SELECT xmin::text, updated_at FROM learning_registry") == before


def test_32_sessions_at_once_on_one_key_lose_nothing(telemetry_database: str) -> None:
    together = threading.Barrier(32)
    with TelemetryStore(telemetry_database, max_connections=16) as store:

        def session(number: int) -> None:
            begun = store.begin(start(number))
            together.wait()
            store.persist(begun, end(), learn)

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(session, range(32)))
        state = store.learning_state(KEY)
    assert (state.version, state.sessions) == (32, 32)
    assert [entry.id for entry in state.entries] == [f"e-{number}" for number in range(1, 33)]


PROCESS = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.atlas.telemetry.build import end, learn, start
from crm_assets.atlas.telemetry import TelemetryStore
with TelemetryStore(sys.argv[1]) as store:
    for number in range(8):
        store.persist(store.begin(start(number)), end(), learn)
"""


def test_processes_at_once_on_one_key_lose_nothing(
    telemetry_database: str, store: TelemetryStore, tests_folder: str
) -> None:
    arguments = [sys.executable, "-c", PROCESS, telemetry_database, tests_folder]
    with ThreadPoolExecutor(2) as pool:
        ended = list(
            pool.map(lambda _: run(arguments, check=False, capture_output=True, text=True), range(2))
        )
    assert [process.stderr for process in ended] == ["", ""]
    assert store.learning_state(KEY).version == 16


# --- what there was before


def test_past_sessions_are_the_key_s_finished_ones_latest_first(store: TelemetryStore) -> None:
    for number in range(1, 5):
        store.persist(
            store.begin(start(number)), end(student_note=f"note {number}", reward=reward(number / 10))
        )
    store.persist(store.begin(start(5)), end(reward=NO_REWARD))
    store.persist(store.begin(start(6)), end(status="failed"))
    store.persist(store.begin(start(7, learning_key="other")), end())
    store.begin(start(8))
    past = store.past_sessions(KEY, 3)
    assert [session.score for session in past] == [None, 0.4, 0.3]
    assert past[1] == PastSession(
        execution_mode="paired",
        score=0.4,
        student_note="note 4",
        teacher_note="Ask for the search.",
        completed_at=past[1].completed_at,
    )
    assert (past[1].completed_at or "").endswith("Z")
    assert len(store.past_sessions(KEY, 100)) == 5


def test_the_reward_window_is_of_numbers_alone(store: TelemetryStore, query: Query) -> None:
    for score in (0.1, 0.2, 0.3):
        stored(store, reward=reward(score, uncertainty=score / 2))
    stored(store, reward=NO_REWARD)
    for odd in ('{"score": null, "uncertainty_mean": 0.1}', '{"score": 0.5, "uncertainty_mean": "low"}'):
        query("UPDATE sessions SET reward_stats = %s WHERE id = %s", odd, stored(store))
    store.begin(start())
    assert store.reward_window(KEY, 2) == [(0.3, 0.15), (0.2, 0.1)]
    assert store.reward_window(KEY, 50) == [(0.3, 0.15), (0.2, 0.1), (0.1, 0.05)]
    assert store.reward_window("other", 50) == []


def test_a_key_s_last_sessions_are_found_by_index(store: TelemetryStore, query: Query) -> None:
    query(
        "INSERT INTO sessions (task, status, metadata) SELECT 't', 'succeeded', jsonb_build_object("
        "'learning_key', (n / 1000)::text) FROM generate_series(1, 5999) AS n"
    )
    query("ANALYZE sessions")
    plan = query(
        "EXPLAIN SELECT id FROM sessions WHERE metadata ->> 'learning_key' = '2' "
        "AND status = 'succeeded' ORDER BY id DESC LIMIT 10"
    )
    assert "crm_assets_sessions_of_key_idx" in str(plan)
    assert "Sort" not in str(plan)


# --- what is looked up afterwards


def test_a_run_s_sessions_are_found_by_their_keys(store: TelemetryStore) -> None:
    first = [store.begin(start(number)) for number in range(3)]
    store.persist(first[0], end())
    store.fail(first[1], "It broke.")
    again = store.begin(start(1))
    store.persist(again, end())
    store.begin(start(0, run_id="other"))
    keys = [start(number).session_key for number in range(3)]
    assert store.session_ids(RUN) == {keys[0]: first[0], keys[1]: again, keys[2]: first[2]}
    assert store.count_sessions(RUN) == {"succeeded": 2, "running": 1}
    assert store.session_ids("nothing") == {}


def test_a_session_that_is_given_up_says_why(store: TelemetryStore, query: Query) -> None:
    session = store.begin(start())
    store.fail(session, "The sandbox is gone.")
    [(status, metadata, completed)] = query("SELECT status, metadata, completed_at FROM sessions")
    assert status == "failed"
    assert metadata["failure"] == {"kind": "failed", "reason": "The sandbox is gone."}
    assert metadata["learning_key"] == KEY
    assert completed is not None
    store.persist(session, end())
    [(status, metadata)] = query("SELECT status, metadata FROM sessions")
    assert status == "succeeded"
    assert "failure" not in metadata
    store.fail(session, "Too late.")
    assert query("SELECT status FROM sessions") == [("succeeded",)]


# --- connections


def terminate(conninfo: str, pid: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def test_a_connection_that_breaks_loses_nothing_and_doubles_nothing(
    telemetry_database: str, store: TelemetryStore, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_WAITS", (0.0, 0.0))
    session = store.begin(start())
    broken: list[bool] = []

    def merge(state: LearningState) -> LearningState:
        if not broken:
            broken.append(True)
            for (pid,) in query(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                "AND state = 'idle in transaction'"
            ):
                terminate(telemetry_database, pid)
        return learn(state)

    merged = store.persist(session, end(), merge)
    assert broken
    assert merged == store.learning_state(KEY) == learn(LearningState())
    assert query("SELECT count(*) FROM trajectory_events") == [(7,)]


def test_a_commit_that_nobody_heard_of_is_not_done_again(
    store: TelemetryStore, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_WAITS", (0.0,))
    real, calls = store_module._persist, []

    def committed_but_unheard(*arguments: Any, **options: Any) -> Any:
        calls.append(options["again"])
        result = real(*arguments, **options)
        if len(calls) == 1:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(store_module, "_persist", committed_but_unheard)
    merged = store.persist(store.begin(start()), end(), learn)
    assert calls == [False, True]
    assert merged == store.learning_state(KEY) == learn(LearningState())
    assert query("SELECT count(*) FROM trajectory_events") == [(7,)]


def test_connections_that_died_idle_are_replaced(
    telemetry_database: str, store: TelemetryStore, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_assets.atlas.telemetry.connections._IDLE_SECONDS", -1.0)
    first = store.begin(start())
    pids = query("SELECT pid FROM pg_stat_activity WHERE application_name = 'crm_assets telemetry'")
    for (pid,) in pids:
        terminate(telemetry_database, pid)
    store.begin(start())
    store.persist(first, end())
    writers = query("SELECT DISTINCT metadata -> 'writer' ->> 'lock' FROM sessions")
    assert len(writers) == 1, "the lock is the same one as before"
    assert store.close_orphans() == 0


def test_a_database_that_goes_away_is_reported_with_its_reason_and_found_again(
    empty_database: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_assets.atlas.telemetry.connections._IDLE_SECONDS", -1.0)
    name = psycopg.conninfo.conninfo_to_dict(empty_database)["dbname"]
    with (
        TelemetryStore(empty_database) as store,
        psycopg.connect(databases.sandbox, autocommit=True) as admin,
    ):
        session = store.begin(start())
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        with pytest.raises(InfrastructureError, match=r"does not answer \(.*not currently accepting"):
            store.learning_state(KEY)
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert store.persist(session, end(), learn) == store.learning_state(KEY)


def test_there_are_no_more_connections_than_allowed(telemetry_database: str, query: Query) -> None:
    most: list[int] = []
    with TelemetryStore(telemetry_database, max_connections=2) as store:

        def session(number: int) -> None:
            store.persist(store.begin(start(number)), end(), learn)
            most.extend(
                query(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND application_name = 'crm_assets telemetry'"
                )[0]
            )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(session, range(24)))
        assert store.learning_state(KEY).version == 24
    assert max(most) <= 3, "two, and the one that says that we live"


def test_who_waits_too_long_for_a_connection_is_told(
    telemetry_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_assets.atlas.telemetry.connections._PATIENCE_SECONDS", 0.1)
    with TelemetryStore(telemetry_database, max_connections=1) as store:
        session = store.begin(start())

        def merge(state: LearningState) -> LearningState:
            with pytest.raises(InfrastructureError, match=r"^All 1 connections to the telemetry database"):
                store.learning_state(KEY)
            return learn(state)

        assert store.persist(session, end(), merge) == learn(LearningState())


def test_a_statement_takes_no_longer_than_allowed(telemetry_database: str) -> None:
    with (
        TelemetryStore(telemetry_database) as store,
        TelemetryStore(telemetry_database, statement_timeout_seconds=1.0) as hasty,
    ):
        store.persist(store.begin(start()), end(), learn)
        session = store.begin(start())
        with psycopg.connect(telemetry_database) as other:
            other.execute("SELECT * FROM learning_registry FOR UPDATE")
            with pytest.raises(InfrastructureError, match=r"^The telemetry database took too long; raise"):
                hasty.persist(session, end(), learn)
        store.persist(session, end(), learn)
        assert store.learning_state(KEY).version == 2
