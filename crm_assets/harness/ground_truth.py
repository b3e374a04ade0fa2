"""The ground truth of a conversation: the right actions, run in a sandbox of their own.

Its end state is the same for every run of a conversation, so it is computed once and kept in the
sandbox database under the hash of the conversation and of the code that ran it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone

import orjson
import psycopg

from crm_assets.conversations import (
    Conversation,
    JsonObject,
    ReferenceUnresolved,
    ReplayFinding,
    Turn,
    find_references,
    resolve,
    turn_output,
)
from crm_assets.crm import (
    Sandbox,
    SandboxPool,
    SeedRows,
    Session,
    ToolError,
    deterministic_ids,
    make_seed_rows,
)
from crm_assets.database import DatabaseGone, failure
from crm_assets.errors import CrmAssetsError, InfrastructureError, first_line
from crm_assets.harness.code_identity import code_fingerprint
from crm_assets.harness.state import CanonicalState, canonical_state, created_rows

__all__ = ["GroundTruth", "GroundTruthStore", "error_is_expected", "ids_of", "replay_finding"]

REFUSAL_LABEL = "Validation error"
"""The name that existing datasets give to any refusal of a call by a tool."""


@dataclass(frozen=True)
class GroundTruth:
    """The start of a conversation and the state that the right actions lead to."""

    seeds: SeedRows
    """The rows it starts from, made valid."""
    end_state: CanonicalState
    outputs: Mapping[int, JsonObject]
    """By turn: the fields of its result that later turns refer to."""
    noop_state_match: bool
    """True if the seeds alone are that state already, so that an agent that calls nothing reaches it."""
    problems: tuple[tuple[int, str], ...] = field(default=())
    """Turns that do not come out as the dataset says, and why; none in a good dataset."""


def error_is_expected(turn: Turn, error: ToolError) -> bool:
    """Tell whether a refusal is the expected one: by its text, or by what it is called."""
    expected = turn.expected_error_substring
    if not expected:
        return True
    return expected.casefold() in f"{REFUSAL_LABEL}: {error.message}".casefold()


def ids_of(seeds: SeedRows) -> frozenset[str]:
    """Return the IDs of all seed rows."""
    return frozenset(
        value
        for rows in seeds.values()
        for row in rows
        for name, value in row.items()
        if name.endswith("_id") and isinstance(value, str)
    )


def run_ground_truth(sandbox: Sandbox, conversation: Conversation) -> GroundTruth:
    """Run the expected calls and read the state they leave.

    Raises:
        SeedError: the conversation has no valid state to start from.
        InfrastructureError: the database failed.
    """
    seeds = make_seed_rows(conversation)
    wanted = _referenced_fields(conversation)
    outputs: dict[int, JsonObject] = {}
    problems: list[tuple[int, str]] = []
    ids = deterministic_ids(f"ground truth {conversation.conversation_id}")
    with sandbox.begin(seeds, ids=ids) as session:
        start = session.rows()
        for turn in conversation.turns:
            problem, output = _run_turn(session, turn, outputs)
            if problem is not None:
                problems.append((turn.turn_id, problem))
            if output is not None:
                outputs[turn.turn_id] = output
        rows = session.rows()
    created = created_rows(
        (turn.expected_tool, outputs[turn.turn_id])
        for turn in conversation.turns
        if turn.turn_id in outputs
    )
    seed_ids = ids_of(seeds)
    end_state = canonical_state(rows, seed_ids, created)
    kept = {
        number: {name: output[name] for name in wanted.get(number, ()) if name in output}
        for number, output in outputs.items()
        if number in wanted
    }
    untouched = canonical_state(start, seed_ids) == end_state
    return GroundTruth(seeds, end_state, kept, untouched, tuple(problems))


def _run_turn(
    session: Session, turn: Turn, outputs: Mapping[int, JsonObject]
) -> tuple[str | None, JsonObject | None]:
    """Return what is wrong with a turn's outcome (None if nothing), and its output."""
    try:
        arguments = resolve(turn.expected_args, outputs)
        result = session.call(turn.expected_tool, arguments)
    except ReferenceUnresolved as error:
        return str(error), None
    except ToolError as error:
        if turn.expect_success:
            return str(error), None
        if not error_is_expected(turn, error):
            return f"Refused with «{error}», expected «{turn.expected_error_substring}».", None
        return None, None
    if not turn.expect_success:
        return "Succeeded, though it is expected to fail.", turn_output(result)
    return None, turn_output(result)


def _referenced_fields(conversation: Conversation) -> dict[int, set[str]]:
    wanted: dict[int, set[str]] = {}
    for turn in conversation.turns:
        for reference in find_references([turn.expected_args, turn.user_utterance]):
            wanted.setdefault(reference.turn, set()).add(reference.field)
    return wanted


def _today() -> date:
    return datetime.now(timezone.utc).date()


def ground_truth_key(conversation: Conversation) -> str:
    """Return the cache key: conversation, code, and the day if close dates are compared with it."""
    parts = [conversation.content_hash, code_fingerprint()]
    if any("close_date" in str(turn.expected_args) for turn in conversation.turns):
        parts.append(_today().isoformat())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class GroundTruthStore:
    """Ground truths of conversations, computed when first asked for.

    Not for two threads at once; each process has its own, on one shared table.
    """

    def __init__(self, conninfo: str, pool: SandboxPool) -> None:
        self._pool = pool
        self.computed = 0
        """Ground truths that were not in the cache."""
        self._conninfo = conninfo
        self._connection = self._connect()
        try:
            self._ensure_table()
        except psycopg.Error as error:
            raise _failure(error) from error

    def _connect(self) -> psycopg.Connection:
        try:
            connection = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=10,
                application_name="crm_assets ground truth",
            )
            connection.execute("SET synchronous_commit TO off")  # it can be computed again
        except psycopg.Error as error:
            raise _failure(error) from error
        return connection

    def _ensure_table(self) -> None:
        exists = self._connection.execute(
            "SELECT to_regclass('ground_truth.end_states') IS NOT NULL"
        ).fetchone()
        if exists == (True,):
            return
        with self._connection.transaction():
            # CREATE … IF NOT EXISTS is not safe against itself; the lock makes it so.
            self._connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (0x43524D54,))
            self._connection.execute("CREATE SCHEMA IF NOT EXISTS ground_truth")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS ground_truth.end_states "
                "(key text PRIMARY KEY, document text NOT NULL, created_at timestamptz DEFAULT now())"
            )

    def get_many(self, conversations: Sequence[Conversation]) -> list[GroundTruth | Exception]:
        """Return the ground truth of each conversation, or what kept it from being computed.

        Raises:
            InfrastructureError: the database failed; `DatabaseGone` if the next call may succeed.
        """
        if self._connection.closed:
            self._connection = self._connect()
        keys = [ground_truth_key(conversation) for conversation in conversations]
        known = self._load(keys)
        fresh: dict[str, str] = {}
        found: list[GroundTruth | Exception] = []
        for key, conversation in zip(keys, conversations, strict=True):
            truth: GroundTruth | Exception | None = known.get(key)
            if truth is None:
                truth = self._compute(conversation)
                if isinstance(truth, GroundTruth):
                    fresh[key] = _dump(truth)
            found.append(truth)
        self._save(fresh)
        return found

    def _compute(self, conversation: Conversation) -> GroundTruth | Exception:
        self.computed += 1
        with self._pool.lease() as sandbox:
            try:
                return run_ground_truth(sandbox, conversation)
            except DatabaseGone:
                raise
            except CrmAssetsError as error:
                return error

    def _load(self, keys: list[str]) -> dict[str, GroundTruth]:
        try:
            rows = self._connection.execute(
                "SELECT key, document FROM ground_truth.end_states WHERE key = ANY(%s)", (keys,)
            ).fetchall()
        except psycopg.Error as error:
            raise _failure(error) from error
        return {key: _load(document) for key, document in rows}

    def _save(self, fresh: Mapping[str, str]) -> None:
        if not fresh:
            return
        try:
            self._connection.execute(
                "INSERT INTO ground_truth.end_states (key, document) "
                "SELECT key, value FROM json_each_text(%s::json) ON CONFLICT DO NOTHING",
                (orjson.dumps(fresh).decode(),),
            )
        except psycopg.Error as error:
            raise _failure(error) from error

    def close(self) -> None:
        """Close the connection; the pool is the caller's."""
        self._connection.close()


def _dump(truth: GroundTruth) -> str:
    return orjson.dumps(truth, option=orjson.OPT_NON_STR_KEYS).decode()


def _load(document: str) -> GroundTruth:
    raw = orjson.loads(document)
    return GroundTruth(
        seeds=raw["seeds"],
        end_state=raw["end_state"],
        outputs={int(number): output for number, output in raw["outputs"].items()},
        noop_state_match=raw["noop_state_match"],
        problems=tuple((turn, reason) for turn, reason in raw["problems"]),
    )


def _failure(error: psycopg.Error) -> InfrastructureError:
    message = f"The store of ground truths failed ({first_line(error)}); run `crm-assets doctor`."
    return failure(message, error)


def replay_finding(conversation: Conversation, truth: GroundTruth | Exception) -> ReplayFinding | None:
    """Return the audit's finding on a conversation whose ground truth does not replay; None if it does."""
    if isinstance(truth, Exception):
        return _finding(conversation, None, str(truth))
    for turn, reason in truth.problems:
        return _finding(conversation, turn, reason)
    return None


def _finding(conversation: Conversation, turn: int | None, reason: str) -> ReplayFinding:
    return ReplayFinding(conversation_id=conversation.conversation_id, turn_id=turn, reason=reason)
