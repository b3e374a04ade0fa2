"""Where sessions start from and what they leave: the telemetry database, and what a ledger notes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crm_assets.atlas.outcomes import ModeDecision, PastSession
from crm_assets.atlas.playbook import LearningState
from crm_assets.atlas.store import (
    LiveStore,
    OpenSession,
    RecordedStore,
    SessionContext,
    recorded_start,
    session_start_time,
)
from crm_assets.atlas.telemetry import SessionEnd, SessionStart, TelemetryStore
from crm_assets.errors import InputError
from crm_assets.llm import Ledger
from tests.atlas.loop import Loop
from tests.atlas.play import NOW

START = SessionStart("talk::run", "run", "key", "Do it.", {"conversation_id": "talk"})
END = SessionEnd("succeeded", "Done.", ModeDecision(mode="paired", source="forced"), student_note="Noted.")


def learnt(state: LearningState, text: str = "Learnt.") -> LearningState:
    """A merge."""
    return state.model_copy(update={"student_learning": text, "sessions": state.sessions + 1})


@pytest.fixture
def telemetry(loop: Loop) -> Iterator[TelemetryStore]:
    with TelemetryStore(loop.telemetry) as opened:
        yield opened


class Book:
    """A run's ledger, as its starts open it."""

    def __init__(self, path: Path, telemetry: TelemetryStore) -> None:
        self.path = path
        self.telemetry = telemetry

    def begin(self, start: SessionStart = START, ledger_key: str = "talk") -> OpenSession:
        with Ledger(self.path) as ledger:
            return asyncio.run(self.live(ledger).begin(start, ledger_key))

    def finish(self, session: OpenSession, merge: Any = learnt) -> None:
        with Ledger(self.path) as ledger:
            asyncio.run(self.live(ledger).finish(session, END, merge))

    def fail(self, session: OpenSession) -> None:
        with Ledger(self.path) as ledger:
            asyncio.run(self.live(ledger).fail(session, "It broke."))

    def live(self, ledger: Ledger) -> LiveStore:
        return LiveStore(self.telemetry, ledger, history=5, window=5)

    def replayed(self, ledger_key: str = "talk") -> OpenSession:
        with Ledger(self.path) as ledger:
            return asyncio.run(RecordedStore(ledger).begin(START, ledger_key))


@pytest.fixture
def book(tmp_path: Path, telemetry: TelemetryStore) -> Book:
    return Book(tmp_path / "ledger.jsonl", telemetry)


def test_a_session_starts_from_what_its_key_has_learnt(book: Book, loop: Loop):
    first = book.begin()
    assert first.context.learning == LearningState()
    assert first.context.history == ()
    book.finish(first)
    second = book.begin(replace(START, session_key="other::run"), "other")
    assert second.context.learning.student_learning == "Learnt."
    [past] = second.context.history
    assert (past.execution_mode, past.student_note) == ("paired", "Noted.")
    apart = book.begin(replace(START, session_key="third::run", learning_key="another"), "third")
    assert apart.context.learning == LearningState()
    assert loop.query("SELECT status, count(*) FROM sessions GROUP BY 1 ORDER BY 1") == [
        ("running", 2),
        ("succeeded", 1),
    ]


def test_an_interrupted_session_starts_from_what_it_started_from(book: Book, telemetry: TelemetryStore):
    first = book.begin()
    other = book.begin(replace(START, session_key="other::run"), "other")
    book.finish(other, partial(learnt, text="Since then."))
    again = book.begin()
    assert again.context == first.context
    assert not again.stored
    assert again.id != first.id
    book.finish(again)
    assert telemetry.learning_state("key").sessions == 2  # and merged into what is known now


def test_a_session_that_was_stored_before_it_was_written_is_not_stored_again(book: Book, loop: Loop):
    first = book.begin()
    book.finish(first)
    again = book.begin()
    assert (again.stored, again.id, again.context) == (True, first.id, first.context)
    book.finish(again)
    book.fail(again)
    assert loop.query("SELECT status FROM sessions") == [("succeeded",)]
    assert book.telemetry.learning_state("key").sessions == 1


def test_a_session_that_failed_is_a_new_one_when_it_is_run_again(book: Book, loop: Loop):
    first = book.begin()
    book.fail(first)
    again = book.begin()
    assert not again.stored
    book.finish(again)
    rows = loop.query("SELECT status, metadata -> 'failure' ->> 'reason' FROM sessions ORDER BY id")
    assert rows == [("failed", "It broke."), ("succeeded", None)]
    assert book.telemetry.count_sessions("run") == {"succeeded": 1}


def test_another_run_begins_afresh(book: Book, tmp_path: Path):
    book.finish(book.begin())
    other = Book(tmp_path / "other.jsonl", book.telemetry)
    fresh = other.begin(replace(START, run_id="other"), "talk")
    assert not fresh.stored
    assert fresh.context.learning.student_learning == "Learnt."


def test_a_replay_starts_from_what_was_recorded_and_stores_nothing(book: Book, loop: Loop):
    first = book.begin()
    book.finish(first)
    before = loop.query("SELECT to_jsonb(s)::text FROM sessions AS s")
    replayed = book.replayed()
    assert (replayed.context, replayed.id) == (first.context, None)
    with Ledger(book.path) as ledger:
        asyncio.run(RecordedStore(ledger).finish(replayed, END, learnt))
        asyncio.run(RecordedStore(ledger).fail(replayed, "no"))
    assert loop.query("SELECT to_jsonb(s)::text FROM sessions AS s") == before
    assert book.telemetry.learning_state("key").sessions == 1


def test_what_the_recorded_run_never_began_cannot_be_replayed(book: Book):
    book.begin()
    with pytest.raises(InputError, match=r"never began session other: .* replay it on its own tasks"):
        book.replayed("other")


def test_a_note_of_another_version_is_named(book: Book):
    with Ledger(book.path) as ledger:
        ledger.note("talk", "start", {"learning": {}, "weather": "fine"})
    with pytest.raises(InputError, match=r"checkpoint of session talk is of another version; start over"):
        book.begin()


def test_a_student_alone_has_its_time_noted_too(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        started = session_start_time(ledger, "talk")
    with Ledger(path) as ledger:
        assert session_start_time(ledger, "talk") == started
        assert recorded_start(ledger, "talk") == started
        with pytest.raises(InputError, match="never began session other"):
            recorded_start(ledger, "other")


def test_a_context_comes_back_as_it_was_noted(tmp_path: Path):
    past = PastSession(
        execution_mode="auto", score=0.1, student_note=None, teacher_note="t", completed_at="2026"
    )
    noted = SessionContext(
        started_at=NOW,
        learning=LearningState(version=3),
        history=(past,),
        window=((0.1, 0.30000000000000004),),
    )
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.note("talk", "start", noted.model_dump(mode="json"))
        assert SessionContext.model_validate(ledger.noted("talk", "start")) == noted
