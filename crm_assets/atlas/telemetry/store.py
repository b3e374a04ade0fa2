"""The telemetry database: sessions, and the learning state of each learning key."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import psycopg

from crm_assets.atlas.outcomes import PastSession
from crm_assets.atlas.playbook import LearningState, Playbook
from crm_assets.atlas.telemetry import statements
from crm_assets.atlas.telemetry.connections import Connections, database_failure
from crm_assets.atlas.telemetry.jsonb import clean_text
from crm_assets.atlas.telemetry.learning import (
    Merge,
    fetch_state,
    merge_state,
    read_playbooks,
    taught_conversations,
    waiting_lessons,
)
from crm_assets.atlas.telemetry.records import SessionEnd, SessionStart
from crm_assets.atlas.telemetry.registry import read_row
from crm_assets.atlas.telemetry.schema import migrate
from crm_assets.atlas.telemetry.writer import Writer
from crm_assets.errors import InfrastructureError

__all__ = ["Merge", "TelemetryStore"]

_Result = TypeVar("_Result")
_WAITS = (0.1, 1.0, 3.0)
"""Seconds before each retry after a broken connection."""


class TelemetryStore:
    """Sessions and learning in one database. Safe to use from several threads, not across a fork.

    Use it as a context manager: entering brings the tables up to date.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        project: str | None = None,
        min_connections: int = 1,
        max_connections: int = 4,
        statement_timeout_seconds: float = 30.0,
    ) -> None:
        """Prepare the store without connecting.

        Args:
            conninfo: psycopg conninfo or URL.
            project: identity of the project whose sessions these are; a run's sessions are looked up among
                its own, and those that name no project.
            min_connections: opened at the start and kept.
            max_connections: limit; a session needs one only while it begins and while it is stored. One
                more shows that this process is alive.
            statement_timeout_seconds: limit of one statement.

        Raises:
            ConfigError: `conninfo` is invalid.
        """
        self._pool = Connections(
            conninfo,
            min_connections=min_connections,
            max_connections=max_connections,
            statement_timeout_seconds=statement_timeout_seconds,
        )
        self._writer = Writer(self._pool.connect)
        self._project = project

    def __enter__(self) -> TelemetryStore:
        """Create or update the tables, and start to connect.

        Raises:
            InfrastructureError: the database does not answer, was set up by a newer version, or the user
                may not set it up.
        """
        with self._pool.connect() as connection:
            migrate(connection)
        self._pool.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect. Sessions that still run are orphans from then on (see `close_orphans`)."""
        self._writer.close()
        self._pool.close()

    def begin(self, start: SessionStart) -> int:
        """Record that a session runs; return its ID.

        Raises:
            InfrastructureError: the database failed; no session was recorded.
        """
        parameters = statements.begin_parameters(start, self._writer.identity(), self._project)
        # Never retried: the connection may have broken after the statement was executed.
        row = self._once(lambda connection: _fetch_one(connection, statements.BEGIN, parameters))
        assert row is not None  # an INSERT returns its row
        return int(row[0])

    def fail_earlier(self, run_id: str, session_key: str) -> None:
        """Close what earlier tries to begin a session left running as failed.

        Raises:
            InfrastructureError: the database failed.
        """
        reason = "The connection was lost while it began."
        parameters = {
            "run_id": clean_text(run_id),
            "session_key": clean_text(session_key),
            "failure": statements.failure("failed", reason),
            "project": self._project,
        }
        self._reliably(lambda connection: connection.execute(statements.FAIL_EARLIER, parameters))

    def learning_state(self, key: str) -> LearningState:
        """Return the learning state of a key; an empty state if there is none.

        Raises:
            InfrastructureError: the database failed.
        """
        return self._reliably(lambda connection: fetch_state(connection, key))

    def playbook(self, namespace: str) -> Playbook:
        """Return the playbook of a namespace; an empty one if nothing was learned in it.

        Raises:
            InfrastructureError: the database failed.
        """
        known = self._reliably(read_playbooks)
        return known.get(namespace) or Playbook(namespace=namespace, keys={})

    def taught_conversations(self, keys: Collection[str]) -> set[str]:
        """Return the IDs of the conversations whose sessions taught one of some learning keys.

        Raises:
            InfrastructureError: the database failed.
        """
        return self._reliably(lambda connection: taught_conversations(connection, keys))

    def waiting_lessons(self, run_id: str) -> int:
        """Return how many sessions of a run taught something that waits for approval.

        Raises:
            InfrastructureError: the database failed.
        """
        return self._reliably(lambda connection: waiting_lessons(connection, run_id, self._project))

    def past_sessions(self, key: str, limit: int) -> list[PastSession]:
        """Return the last succeeded sessions of a learning key, at most `limit`, latest first.

        Raises:
            InfrastructureError: the database failed.
        """
        rows = self._rows(statements.PAST_SESSIONS, (clean_text(key), limit))
        return [
            PastSession(
                execution_mode=mode,
                score=score if isinstance(score, (int, float)) else None,
                student_note=student,
                teacher_note=teacher,
                completed_at=completed,
            )
            for mode, score, student, teacher, completed in rows
        ]

    def reward_window(self, key: str, size: int) -> list[tuple[float, float]]:
        """Return score and mean uncertainty (0–1) of a key's last `size` rewarded sessions, latest first.

        Raises:
            InfrastructureError: the database failed.
        """
        rows = self._rows(statements.REWARD_WINDOW, (clean_text(key), size))
        return [(score, uncertainty) for score, uncertainty in rows]

    def persist(
        self, session_id: int, end: SessionEnd, merge: Merge | None = None, *, again: bool = False
    ) -> LearningState | None:
        """Store a finished session and the new learning state of its key in one transaction.

        After a broken connection it is retried; the session is stored once.

        Args:
            session_id: from `begin`.
            end: the session's results.
            merge: applied to the key's current learning state while its row is locked.
            again: an earlier try may have stored it before its connection broke.

        Returns:
            The merged state; None without `merge`.

        Raises:
            InfrastructureError: the database failed, or the session is stored already; nothing changed.
        """
        started: list[int] = []

        def work(connection: psycopg.Connection) -> LearningState | None:
            started.append(session_id)
            return _persist(connection, session_id, end, merge, again=again or len(started) > 1)

        return self._reliably(work)

    def fail(self, session_id: int, reason: str) -> None:
        """Close a running session as failed; a closed one stays as it is.

        Raises:
            InfrastructureError: the database failed.
        """
        parameters = {"id": session_id, "failure": statements.failure("failed", reason)}
        self._reliably(lambda connection: connection.execute(statements.FAIL, parameters))

    def close_orphans(self) -> int:
        """Close running sessions whose process is gone as failed; return their number.

        Sessions of living processes and of the SDK are left alone.

        Raises:
            InfrastructureError: the database failed.
        """
        reason = "The process that ran it ended before it did."
        parameters = {"failure": statements.failure("orphaned", reason)}
        return self._reliably(
            lambda connection: connection.execute(statements.CLOSE_ORPHANS, parameters).rowcount
        )

    def stored_session(self, run_id: str, session_key: str) -> int | None:
        """Return the ID of a succeeded session of a run; None if there is none.

        Raises:
            InfrastructureError: the database failed.
        """
        session = {"run_id": clean_text(run_id), "session_key": clean_text(session_key)}
        rows = self._rows(statements.STORED_SESSION, {**session, "project": self._project})
        return rows[0][0] if rows else None

    def session_ids(self, run_id: str) -> dict[str, int]:
        """Return the ID of each session of a run by its key; the last one of sessions that were rerun.

        Raises:
            InfrastructureError: the database failed.
        """
        rows = self._sessions_of(run_id)
        return {key: session_id for key, session_id, _ in rows}

    def count_sessions(self, run_id: str) -> dict[str, int]:
        """Return the number of sessions of a run by status; sessions that were rerun count once.

        Raises:
            InfrastructureError: the database failed.
        """
        rows = self._sessions_of(run_id)
        return dict(Counter(status for _, _, status in rows))

    def _sessions_of(self, run_id: str) -> list[Any]:
        parameters = {"run_id": clean_text(run_id), "project": self._project}
        return self._rows(statements.SESSIONS_OF_RUN, parameters)

    def _rows(self, query: str, parameters: tuple[object, ...] | dict[str, str | None]) -> list[Any]:
        return self._reliably(
            lambda connection: connection.execute(query.encode(), parameters, prepare=True).fetchall()
        )

    def _once(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        try:
            with self._pool.connection() as connection:
                return work(connection)
        except psycopg.Error as error:
            raise database_failure(error) from error

    def _reliably(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        """Do idempotent work; retry it where the connection or a lock failed."""
        for wait in _WAITS:
            try:
                with self._pool.connection() as connection:
                    return work(connection)
            except psycopg.errors.QueryCanceled as error:
                raise database_failure(error) from error
            except psycopg.OperationalError:
                time.sleep(wait)
            except psycopg.Error as error:
                raise database_failure(error) from error
        return self._once(work)


def _fetch_one(connection: psycopg.Connection, query: str, parameters: Any) -> Any:
    return connection.execute(query.encode(), parameters, prepare=True).fetchone()


def _persist(
    connection: psycopg.Connection, session_id: int, end: SessionEnd, merge: Merge | None, *, again: bool
) -> LearningState | None:
    with connection.transaction():
        claimed = _fetch_one(connection, statements.CLAIM, (session_id,))
        if claimed is None:
            if not again:
                raise InfrastructureError(
                    f"Session {session_id} is not in the telemetry database, or is stored already."
                )
            # The connection broke after the commit and before its confirmation.
            row = _fetch_one(connection, _STATE_OF_SESSION, (session_id,)) if merge else None
            return read_row(*row).state if row else None
        state = merge_state(connection, claimed[0], merge) if merge else None
        parameters = statements.persist_parameters(session_id, end, state or end.learning_state)
        connection.execute(statements.PERSIST.encode(), parameters, prepare=True)
    return state


_STATE_OF_SESSION = (
    "SELECT r.student_learning, r.teacher_learning, r.metadata FROM sessions AS s "
    "JOIN learning_registry AS r ON r.learning_key = s.metadata ->> 'learning_key' WHERE s.id = %s"
)
