"""Where sessions start from and what they leave: the telemetry database, and what a ledger notes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from crm_assets.atlas.config import PruningConfig
from crm_assets.atlas.outcomes import ModeDecision, PastSession
from crm_assets.atlas.playbook import SHARED, LearningState, LearningUpdate, Lesson, Playbook
from crm_assets.atlas.store import (
    LiveStore,
    OpenSession,
    RecordedStore,
    SessionContext,
    recorded_start,
    session_start_time,
)
from crm_assets.atlas.telemetry import Review, SessionEnd, SessionStart, TelemetryStore
from crm_assets.atlas.telemetry.learning import replace_playbook
from crm_assets.atlas.telemetry.reviews import decide
from crm_assets.errors import InputError
from crm_assets.llm import Ledger
from tests.atlas.loop import Loop
from tests.atlas.play import NOW

START = SessionStart("talk::run", "run", "key", "Do it.", {"conversation_id": "talk"})
END = SessionEnd(
    "succeeded",
    "Done.",
    ModeDecision(mode="paired", source="forced"),
    student_note="Noted.",
    review=Review("approved", None),
)


def learnt(text: str = "Learnt.") -> Lesson:
    """What a session taught."""
    return Lesson(
        session="talk::run",
        conversation="talk",
        reward=0.5,
        now="2031-01-01T00:00:00Z",
        update=LearningUpdate(student_pamphlet=text),
        usage=None,
        pruning=PruningConfig(),
    )


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

    def finish(self, session: OpenSession, text: str = "Learnt.", end: SessionEnd = END) -> None:
        with Ledger(self.path) as ledger:
            asyncio.run(self.live(ledger).finish(session, end, learnt(text)))

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
    book.finish(other, "Since then.")
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
        asyncio.run(RecordedStore(ledger).finish(replayed, END, learnt()))
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


def test_what_an_unapproved_session_taught_reaches_nobody(book: Book, loop: Loop):
    book.finish(book.begin(), end=replace(END, review=Review("pending", None)))
    assert book.telemetry.learning_state("key") == LearningState()
    second = book.begin(replace(START, session_key="other::run"), "other")
    assert second.context.learning == LearningState()
    assert [past.student_note for past in second.context.history] == [None]
    assert book.telemetry.waiting_lessons("run") == 1
    ((session, taught),) = loop.query(
        "SELECT id, metadata -> 'lesson' -> 'update' FROM sessions WHERE id = 1"
    )
    assert taught["student_pamphlet"] == "Learnt."
    with psycopg.connect(loop.telemetry, autocommit=True) as connection:
        assert decide(connection, [session], "quarantined", "No.") == 0
        assert book.telemetry.learning_state("key") == LearningState()
        assert decide(connection, [session], "approved") == 1
        assert decide(connection, [session], "approved") == 0  # taught once, whoever approves it again
    assert book.telemetry.learning_state("key").student_learning == "Learnt."
    assert book.telemetry.learning_state("key").sessions == 1
    assert book.telemetry.waiting_lessons("run") == 0
    assert loop.query(
        "SELECT review_status, review_notes, metadata -> 'review' ->> 'status' FROM sessions WHERE id = 1"
    ) == [("approved", "No.", "approved")]


def test_namespaces_keep_apart_what_is_learnt_and_old_keys_are_the_shared_ones(book: Book, loop: Loop):
    for number, (key, text) in enumerate(
        {"dev::key": "Of dev.", "demo::key": "Of demo.", "key": "Of old."}.items()
    ):
        start = replace(
            START, learning_key=key, session_key=f"s-{number}", metadata={"conversation_id": f"c-{number}"}
        )
        book.finish(book.begin(start, f"s-{number}"), text)
    for namespace, text in {"dev": "Of dev.", "demo": "Of demo.", SHARED: "Of old."}.items():
        found = book.telemetry.playbook(namespace)
        assert {key: state.student_learning for key, state in found.keys.items()} == {"key": text}
        assert found.version == 1
    assert book.telemetry.playbook("nobody").keys == {}
    assert book.telemetry.taught_conversations({"dev::key"}) == {"c-0"}
    dev = book.telemetry.playbook("dev")
    with psycopg.connect(loop.telemetry, autocommit=True) as connection:
        replace_playbook(connection, Playbook(namespace="dev", keys={}))
        assert book.telemetry.playbook("dev").keys == {}
        assert book.telemetry.playbook(SHARED).version == 1
        assert book.telemetry.taught_conversations({"dev::key"}) == set()
        replace_playbook(connection, dev)
    assert book.telemetry.playbook("dev") == dev
    assert book.telemetry.taught_conversations({"dev::key"}) == {"c-0"}
