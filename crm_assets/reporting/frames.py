"""sessions.jsonl as compact pandas frames, built line by line.

A session's line is some kilobytes, mostly text that no metric needs; here it is some tens of bytes,
so that 100,000 sessions fit where a list of their records would not.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crm_assets.errors import InputError
from crm_assets.records import RunHeader, SessionLog, SessionSummary, TurnSummary, UsageSummary
from crm_assets.records.summary import ResultSummary
from crm_assets.reporting.failures import UNNAMED_KIND, FailureLog
from crm_assets.reporting.models import RunInfo

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionFrames", "read_frames"]

_NONE = "(none)"
_CODES = {"names": "i", "ids": "i"}
_CHUNK = 1024
_CHECKED = ("run_id", "dataset", "dataset_revision")


@dataclass(frozen=True)
class SessionFrames:
    """All that is kept of the sessions.

    Verdicts are small integers: 1 yes, 0 no, -1 none. Missing numbers are NaN.
    """

    sessions: pd.DataFrame
    """A row a session: conversation, status, workflow, complexity, mode, verdicts, rewards."""
    turns: pd.DataFrame
    """A row an executed turn of a session that ran: verdicts, tool, kind, conversation."""
    usage: pd.DataFrame
    """A row a session and role that report tokens."""
    costs: pd.DataFrame
    """A row a session and role that report a cost."""
    failures: FailureLog
    run: RunInfo
    """What the sessions say of their run, completed by what the caller knows."""


class _Columns:
    """Columns that grow together, each kept as an array of the kind given by its name.

    A kind is an array's type code; `names` for strings that are to be a category, each kept once; `ids` for
    strings of which only it counts whether they are the same.
    """

    def __init__(self, **kinds: str) -> None:
        self._kinds = kinds
        self._arrays = {name: array(_CODES.get(kind, kind)) for name, kind in kinds.items()}
        self._known: dict[str, dict[str, int]] = {
            name: {} for name, kind in kinds.items() if kind in _CODES
        }
        self._rows: list[tuple[Any, ...]] = []

    def append(self, *values: Any) -> None:
        """Add a row: a value for each column, in their order."""
        self._rows.append(values)
        if len(self._rows) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        for (name, column), values in zip(
            self._arrays.items(), zip(*self._rows, strict=True), strict=False
        ):
            known = self._known.get(name)
            column.extend(
                values if known is None else [known.setdefault(value, len(known)) for value in values]
            )
        self._rows.clear()

    def frame(self) -> pd.DataFrame:
        """Build the frame; nothing can be added any more."""
        # Half a second and 60 MB that nobody pays who only reads metrics.
        import numpy as np  # noqa: PLC0415
        import pandas as pd  # noqa: PLC0415

        self._flush()
        columns: dict[str, Any] = {}
        for name in list(self._arrays):
            column = self._arrays.pop(name)  # so that two copies of one column, at most, are in memory
            values = np.array(column, column.typecode)
            if self._kinds[name] == "names":
                columns[name] = pd.Categorical.from_codes(
                    values, categories=pd.Index(list(self._known[name]))
                )
            else:
                columns[name] = values
        frame: pd.DataFrame = pd.DataFrame(columns)
        return frame


@dataclass
class _Builder:
    sessions: _Columns = field(
        default_factory=lambda: _Columns(
            conversation="ids",
            status="names",
            workflow="names",
            complexity="names",
            mode="names",
            overall="b",
            state="b",
            chain="b",
            failed_at="i",
            planned="q",
            reward="d",
            signal="d",
            duration="d",
            epoch="i",
            key="names",
            reward_status="names",
            escalated="b",
            attempts="i",
            intervened="b",
            valid="b",
            first="b",
            available="d",
            learnt="d",
            rejected="d",
            learner_failed="b",
        )
    )
    turns: _Columns = field(
        default_factory=lambda: _Columns(
            conversation="ids",
            workflow="names",
            complexity="names",
            turn="i",
            tool="names",
            kind="names",
            expect_success="b",
            success="b",
            tool_success="b",
            reply="b",
            reply_status="names",
            first_failure="b",
        )
    )
    usage: _Columns = field(
        default_factory=lambda: _Columns(
            session="i",
            role="names",
            prompt="d",
            completion="d",
            total="d",
            cached="d",
            reasoning="d",
            calls="d",
            failed="d",
            no_usage="d",
            no_cost="d",
        )
    )
    costs: _Columns = field(default_factory=lambda: _Columns(session="i", role="names", usd="d"))
    failures: FailureLog = field(default_factory=FailureLog)

    def add(self, index: int, session: SessionSummary) -> None:
        """Add a session, the `index`th from 0."""
        self._add_session(session)
        self._add_usage(index, session)
        if session.ran is not None:
            self._add_turns(session, session.ran)
            self.failures.add_turns(session)
        elif session.status == "failed":
            self.failures.add_infrastructure(session)
        elif session.status == "not_recorded":
            self.failures.add_not_recorded(session)

    def _add_session(self, session: SessionSummary) -> None:
        meta, ran = session.atlas_metadata, session.ran
        planned = ran.metadata.total_turns if ran else None
        self.sessions.append(
            session.conversation_id,
            session.status,
            meta.workflow_category or _NONE,
            meta.complexity_level or _NONE,
            meta.execution_mode or _NONE,
            _VERDICT[ran.overall_success if ran else None],
            _VERDICT[ran.state_match if ran else None],
            _VERDICT[ran.chain_success if ran else None],
            (ran.first_failed_turn if ran else None) or 0,
            -1 if planned is None else planned,
            _number(session.reward if ran else None),
            _number(ran.reward_signal if ran else None),
            _number(ran.metadata.duration_seconds if ran else None),
            session.epoch,
            meta.learning_key or _NONE,
            meta.reward_status or _NONE,
            _VERDICT[meta.reward_escalated],
            meta.attempts or 0,
            _VERDICT[meta.teacher_intervened],
            _VERDICT[meta.teacher_valid],
            _VERDICT[meta.first_attempt_success],
            _number(meta.entries_available),
            _number(meta.entries_learnt),
            _number(meta.entries_rejected),
            int(meta.learning_error is not None),
        )

    def _add_turns(self, session: SessionSummary, ran: ResultSummary) -> None:
        meta = session.atlas_metadata
        workflow, complexity = meta.workflow_category or _NONE, meta.complexity_level or _NONE
        conversation, first = session.conversation_id, ran.first_failed_turn
        for turn in ran.per_turn_results:
            verdict = turn.reply_verdict
            self.turns.append(
                conversation,
                workflow,
                complexity,
                turn.turn_id,
                turn.expected_tool or _NONE,
                turn.verification or UNNAMED_KIND,
                turn.expect_success,
                _VERDICT[turn.success],
                _VERDICT[turn.tool_success],
                _VERDICT[verdict],
                _reply_status(turn, verdict),
                turn.turn_id == first and turn.success is False,
            )

    def _add_usage(self, index: int, session: SessionSummary) -> None:
        for role, used in _usage_of(session).items():
            self.usage.append(
                index,
                role,
                _number(used.prompt_tokens),
                _number(used.completion_tokens),
                _number(used.total),
                _number(used.cached_tokens),
                _number(used.reasoning_tokens),
                _number(used.calls),
                _number(used.failed_calls),
                _number(used.unknown_usage_calls),
                _number(used.unknown_cost_calls),
            )
        for role, usd in (session.atlas_metadata.cost_usd or {}).items():
            self.costs.append(index, role, usd)


def read_frames(path: Path, *, run: RunInfo) -> SessionFrames:
    """Read the sessions of one run.

    Raises:
        InputError: a line cannot be used, or belongs to another run; names file and line.
    """
    builder, log = _Builder(), SessionLog(path)
    for index, entry in enumerate(log.summaries()):
        builder.add(index, entry.session)
    return SessionFrames(
        sessions=builder.sessions.frame(),
        turns=builder.turns.frame(),
        usage=builder.usage.frame(),
        costs=builder.costs.frame(),
        failures=builder.failures,
        run=_completed(path, log.header, run),
    )


def _completed(path: Path, header: RunHeader, run: RunInfo) -> RunInfo:
    """Return what the run says of itself, and the caller's word where it says nothing."""
    said = header.model_dump(include=set(RunInfo.model_fields))
    for name in _CHECKED:
        known = getattr(run, name)
        if known is not None and said[name] is not None and known != said[name]:
            raise InputError(
                f"{path} is of {name} {said[name]!r}, not {known!r}; give the sessions of this run."
            )
    said |= {"agent_config": header.agent_config, "software": {**run.software, **header.software}}
    return run.model_copy(update={name: value for name, value in said.items() if value is not None})


def _usage_of(session: SessionSummary) -> dict[str, UsageSummary]:
    """Return tokens by role: the session's own account, else the sum over its turns.

    A role whose counts are all 0 and that called no model has no usage, rather than a usage of 0.
    """
    roles = session.atlas_metadata.token_usage
    if not roles and session.conversation_result is not None:
        roles = {}
        for turn in session.conversation_result.per_turn_results:
            for role, used in turn.token_usage.items():
                roles[role] = _sum(roles[role], used) if role in roles else used
    return {role: used for role, used in (roles or {}).items() if used.total or used.calls}


def _sum(one: UsageSummary, other: UsageSummary) -> UsageSummary:
    def add(a: int | None, b: int | None) -> int | None:
        return b if a is None else a if b is None else a + b

    return UsageSummary(
        prompt_tokens=add(one.prompt_tokens, other.prompt_tokens),
        completion_tokens=add(one.completion_tokens, other.completion_tokens),
        total_tokens=add(one.total, other.total),
        cached_tokens=add(one.cached_tokens, other.cached_tokens),
        reasoning_tokens=add(one.reasoning_tokens, other.reasoning_tokens),
        calls=add(one.calls, other.calls),
        failed_calls=add(one.failed_calls, other.failed_calls),
    )


def _reply_status(turn: TurnSummary, verdict: bool | None) -> str:
    if verdict is not None:
        return "scored"
    return "not_applicable" if turn.response_status == "not_applicable" else "unscored"


_VERDICT = {True: 1, False: 0, None: -1}
_NAN = float("nan")


def _number(value: float | None) -> float:
    return _NAN if value is None else float(value)
