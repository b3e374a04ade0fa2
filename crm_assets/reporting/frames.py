"""sessions.jsonl as compact pandas frames, built line by line.

A session's line is some kilobytes, mostly text that no metric needs; here it is some tens of bytes,
so that 100,000 sessions fit where a list of their records would not.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
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
_CODES = {"name": "i", "id": "q", "verdict": "b", "number": "d"}
_CHUNK = 1024
_VERDICT = {True: 1, False: 0, None: -1}
_NAN = float("nan")
_CHECKED = ("run_id", "dataset", "dataset_revision")


@dataclass(frozen=True)
class SessionFrames:
    """The parts of the sessions that metrics are made of.

    Verdicts are small integers: 1 yes, 0 no, -1 none. Missing numbers are NaN.
    """

    sessions: pd.DataFrame
    """A row for each session: number of its conversation, status, workflow, mode, verdicts, rewards."""
    turns: pd.DataFrame
    """A row for each executed turn of a session that ran: verdicts, tool, kind, conversation."""
    usage: pd.DataFrame
    """A row for each session and role that report tokens."""
    costs: pd.DataFrame
    """A row for each session and role that report a cost."""
    failures: FailureLog
    run: RunInfo
    """The header of the run, completed by what the caller knows."""


class _Numbers(dict[str, int]):
    """Give names numbers, from 0, as they come."""

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        return number


class _Columns:
    """Columns that grow together.

    Kinds by name: an array's type code; `verdict` (True, False, None as 1, 0, -1); `number` (None as NaN);
    `name` for strings that become a category, each kept once; `id` for strings that become whole numbers,
    equal for equal strings.
    """

    def __init__(self, **kinds: str) -> None:
        self._kinds = kinds
        self._arrays = {name: array(_CODES.get(kind, kind)) for name, kind in kinds.items()}
        self._names = {name: _Numbers() for name, kind in kinds.items() if kind == "name"}
        self._rows: list[tuple[Any, ...]] = []

    def append(self, *values: Any) -> None:
        """Add a row: a value for each column, in their order."""
        self._rows.append(values)
        if len(self._rows) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        for (name, kind), values in zip(self._kinds.items(), zip(*self._rows, strict=True), strict=False):
            self._arrays[name].extend(self._coded(name, kind, values))
        self._rows.clear()

    def _coded(self, name: str, kind: str, values: tuple[Any, ...]) -> Iterable[Any]:
        if kind == "name":
            return map(self._names[name].__getitem__, values)
        if kind == "verdict":
            return map(_VERDICT.__getitem__, values)
        if kind == "number":
            return [_NAN if value is None else value for value in values]
        # 64 bits, with a random seed: the chance that two of 100,000 are equal is below 10**-9.
        return map(hash, values) if kind == "id" else values

    def frame(self) -> pd.DataFrame:
        """Build the frame; nothing can be added any more."""
        # Half a second and 60 MB that reading metrics alone does not need.
        import numpy as np  # noqa: PLC0415
        import pandas as pd  # noqa: PLC0415

        self._flush()
        columns: dict[str, object] = {}
        for name in list(self._arrays):
            column = self._arrays.pop(name)  # so that two copies of one column, at most, are in memory
            values = np.array(column, column.typecode)
            if self._kinds[name] == "name":
                columns[name] = pd.Categorical.from_codes(
                    values, categories=pd.Index(list(self._names[name]))
                )
            elif self._kinds[name] == "id":
                columns[name] = pd.factorize(values)[0].astype("int32")
            else:
                columns[name] = values
        frame: pd.DataFrame = pd.DataFrame(columns)
        return frame


@dataclass
class _Builder:
    sessions: _Columns = field(
        default_factory=lambda: _Columns(
            conversation="id",
            status="name",
            workflow="name",
            complexity="name",
            mode="name",
            overall="verdict",
            state="verdict",
            chain="verdict",
            failed_at="i",
            planned="q",
            reward="number",
            signal="number",
            duration="number",
            epoch="i",
            key="name",
            reward_status="name",
            escalated="verdict",
            attempts="i",
            intervened="verdict",
            valid="verdict",
            first="verdict",
            available="number",
            learnt="number",
            rejected="number",
            learner_failed="b",
        )
    )
    turns: _Columns = field(
        default_factory=lambda: _Columns(
            conversation="id",
            workflow="name",
            complexity="name",
            turn="i",
            tool="name",
            kind="name",
            expect_success="b",
            success="verdict",
            tool_success="verdict",
            reply="verdict",
            reply_status="name",
            first_failure="b",
            asked_for_more="verdict",
        )
    )
    usage: _Columns = field(
        default_factory=lambda: _Columns(
            session="i",
            role="name",
            prompt="number",
            completion="number",
            total="number",
            cached="number",
            reasoning="number",
            calls="number",
            failed="number",
            no_usage="number",
            no_cost="number",
        )
    )
    costs: _Columns = field(default_factory=lambda: _Columns(session="i", role="name", usd="d"))
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
            ran.overall_success if ran else None,
            ran.state_match if ran else None,
            ran.chain_success if ran else None,
            (ran.first_failed_turn if ran else None) or 0,
            -1 if planned is None else planned,
            session.reward if ran else None,
            ran.reward_signal if ran else None,
            ran.metadata.duration_seconds if ran else None,
            session.epoch,
            meta.learning_key or _NONE,
            meta.reward_status or _NONE,
            meta.reward_escalated,
            meta.attempts or 0,
            meta.teacher_intervened,
            meta.teacher_valid,
            meta.first_attempt_success,
            meta.entries_available,
            meta.entries_learnt,
            meta.entries_rejected,
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
                turn.success,
                turn.tool_success,
                verdict,
                _reply_status(turn, verdict),
                turn.turn_id == first and turn.success is False,
                turn.asked_for_more,
            )

    def _add_usage(self, index: int, session: SessionSummary) -> None:
        for role, used in _usage_of(session).items():
            self.usage.append(
                index,
                role,
                used.prompt_tokens,
                used.completion_tokens,
                used.total,
                used.cached_tokens,
                used.reasoning_tokens,
                used.calls,
                used.failed_calls,
                used.unknown_usage_calls,
                used.unknown_cost_calls,
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
    """Return the facts of the run, completed by those that the caller knows."""
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
