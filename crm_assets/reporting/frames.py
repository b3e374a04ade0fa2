"""sessions.jsonl as compact pandas frames, built line by line.

A session's line is some kilobytes, mostly text that no metric needs; here it is some tens of bytes,
so that 100,000 sessions fit where a list of their records would not.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crm_assets.errors import InputError
from crm_assets.reporting.failures import UNNAMED_KIND, FailureLog
from crm_assets.reporting.lines import MetadataLine, SessionLine, UsageLine, read_lines
from crm_assets.reporting.models import RunInfo

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SessionFrames", "read_frames"]

_NONE = "(none)"
_IDENTITY = (
    "run_id",
    "dataset",
    "dataset_revision",
    "agent",
    "backend",
    "use_llm_judge",
    "config_path",
    "conversations_path",
    "tasks_path",
)
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


class _Names:
    """Strings as numbers, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


class _Columns:
    """Columns that grow together; `kinds` says by name how each is kept: an array type or names."""

    def __init__(self, **kinds: str) -> None:
        self._arrays = {name: array("i" if kind == "names" else kind) for name, kind in kinds.items()}
        self._names = {name: _Names() for name, kind in kinds.items() if kind == "names"}

    def append(self, **values: Any) -> None:
        for name, column in self._arrays.items():
            value = values[name]
            names = self._names.get(name)
            column.append(value if names is None else names.number(value))

    def frame(self) -> pd.DataFrame:
        # Half a second and 60 MB that nobody pays who only reads metrics.
        import numpy as np  # noqa: PLC0415
        import pandas as pd  # noqa: PLC0415

        frame: pd.DataFrame = pd.DataFrame(
            {name: np.array(column, column.typecode) for name, column in self._arrays.items()}
        )
        for name, names in self._names.items():
            codes = frame[name].to_numpy()
            frame[name] = pd.Categorical.from_codes(codes, categories=pd.Index(names.all()))
        return frame


@dataclass
class _Builder:
    sessions: _Columns = field(
        default_factory=lambda: _Columns(
            conversation="names",
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
            conversation="names",
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
            total="q",
            cached="d",
            reasoning="d",
            calls="d",
            failed="d",
        )
    )
    costs: _Columns = field(default_factory=lambda: _Columns(session="i", role="names", usd="d"))
    failures: FailureLog = field(default_factory=FailureLog)

    def add(self, index: int, session: SessionLine) -> None:
        self._add_session(session)
        self._add_usage(index, session)
        if session.status == "succeeded":
            self._add_turns(session)
            self.failures.add_turns(session)
        elif session.status == "failed":
            self.failures.add_infrastructure(session)

    def _add_session(self, session: SessionLine) -> None:
        meta, result = session.atlas_metadata, session.conversation_result
        # A session that did not run to its end has no verdict, whatever else its line may hold.
        ran = result if session.status == "succeeded" else None
        reward = meta.session_reward.score if meta.session_reward and ran else None
        self.sessions.append(
            conversation=session.conversation_id,
            status=session.status,
            workflow=meta.workflow_category or _NONE,
            complexity=meta.complexity_level or _NONE,
            mode=meta.execution_mode or _NONE,
            overall=_verdict(ran.overall_success if ran else None),
            state=_verdict(ran.state_match if ran else None),
            chain=_verdict(ran.chain_success if ran else None),
            failed_at=(ran.first_failed_turn if ran else None) or 0,
            planned=-1 if ran is None or ran.metadata.total_turns is None else ran.metadata.total_turns,
            reward=_number(reward),
            signal=_number(ran.reward_signal if ran else None),
            duration=_number(ran.metadata.duration_seconds if ran else None),
            epoch=session.epoch,
            **_loop_facts(meta),
        )

    def _add_turns(self, session: SessionLine) -> None:
        meta, result = session.atlas_metadata, session.conversation_result
        if result is None:
            return
        first = result.first_failed_turn
        for turn in result.per_turn_results:
            verdict = turn.reply_verdict
            unscored = verdict is None and turn.response_status != "not_applicable"
            self.turns.append(
                conversation=session.conversation_id,
                workflow=meta.workflow_category or _NONE,
                complexity=meta.complexity_level or _NONE,
                turn=turn.turn_id,
                tool=turn.expected_tool or _NONE,
                kind=turn.verification or UNNAMED_KIND,
                expect_success=turn.expect_success,
                success=_verdict(turn.success),
                tool_success=_verdict(turn.tool_success),
                reply=_verdict(verdict),
                reply_status="scored"
                if verdict is not None
                else "unscored"
                if unscored
                else "not_applicable",
                first_failure=turn.turn_id == first and turn.success is False,
            )

    def _add_usage(self, index: int, session: SessionLine) -> None:
        for role, used in _usage_of(session).items():
            self.usage.append(
                session=index,
                role=role,
                prompt=_number(used.prompt_tokens),
                completion=_number(used.completion_tokens),
                total=used.total,
                cached=_number(used.cached_tokens),
                reasoning=_number(used.reasoning_tokens),
                calls=_number(used.calls),
                failed=_number(used.failed_calls),
            )
        for role, usd in (session.atlas_metadata.cost_usd or {}).items():
            self.costs.append(session=index, role=role, usd=usd)


def read_frames(path: Path, *, run: RunInfo) -> SessionFrames:
    """Read the sessions of one run.

    Raises:
        InputError: a line cannot be used, or belongs to another run; names file and line.
    """
    builder = _Builder()
    software: dict[str, set[str]] = {}
    identity: MetadataLine | None = None
    for index, (number, session) in enumerate(read_lines(path)):
        if identity is None:
            identity = session.atlas_metadata
        _check_same_run(path, number, session.atlas_metadata, identity)
        for name, version in (session.atlas_metadata.software or {}).items():
            software.setdefault(name, set()).add(version)
        builder.add(index, session)
    assert identity is not None  # read_lines refuses an empty file
    return SessionFrames(
        sessions=builder.sessions.frame(),
        turns=builder.turns.frame(),
        usage=builder.usage.frame(),
        costs=builder.costs.frame(),
        failures=builder.failures,
        run=_completed(path, identity, software, run),
    )


def _check_same_run(path: Path, number: int, line: MetadataLine, first: MetadataLine) -> None:
    for name in _IDENTITY:
        if getattr(line, name) != getattr(first, name):
            raise InputError(
                f"{path}, line {number}: {name} is {getattr(line, name)!r}, and "
                f"{getattr(first, name)!r} in the first line; measure one run at a time."
            )


def _completed(
    path: Path, identity: MetadataLine, software: Mapping[str, set[str]], run: RunInfo
) -> RunInfo:
    """What the sessions say, and the caller's word where they say nothing.

    A run that was stopped and went on later may have seen two versions of a thing: both are named.
    """
    said = {name: getattr(identity, name) for name in _IDENTITY}
    said["agent_config"] = said.pop("agent")
    for name in _CHECKED:
        known = getattr(run, name)
        if known is not None and said[name] is not None and known != said[name]:
            raise InputError(
                f"{path} is of {name} {said[name]!r}, not {known!r}; give the sessions of this run."
            )
    seen = {name: ", ".join(sorted(versions)) for name, versions in software.items()}
    said["software"] = {**run.software, **seen}
    return run.model_copy(update={name: value for name, value in said.items() if value is not None})


def _usage_of(session: SessionLine) -> dict[str, UsageLine]:
    """Tokens by role: the session's own account, else the sum over its turns.

    A role whose counts are all 0 and that called no model has no usage, rather than a usage of 0.
    """
    roles = session.atlas_metadata.token_usage
    if not roles and session.conversation_result is not None:
        roles = {}
        for turn in session.conversation_result.per_turn_results:
            for role, used in turn.token_usage.items():
                roles[role] = _sum(roles[role], used) if role in roles else used
    return {role: used for role, used in (roles or {}).items() if used.total or used.calls}


def _sum(one: UsageLine, other: UsageLine) -> UsageLine:
    def add(a: int | None, b: int | None) -> int | None:
        return b if a is None else a if b is None else a + b

    return UsageLine(
        prompt_tokens=add(one.prompt_tokens, other.prompt_tokens),
        completion_tokens=add(one.completion_tokens, other.completion_tokens),
        total_tokens=one.total + other.total,
        cached_tokens=add(one.cached_tokens, other.cached_tokens),
        reasoning_tokens=add(one.reasoning_tokens, other.reasoning_tokens),
        calls=add(one.calls, other.calls),
        failed_calls=add(one.failed_calls, other.failed_calls),
    )


def _loop_facts(meta: MetadataLine) -> dict[str, Any]:
    """What the loop around the student did in a session."""
    return {
        "key": meta.learning_key or _NONE,
        "reward_status": meta.reward_status or _NONE,
        "escalated": _verdict(meta.reward_escalated),
        "attempts": meta.attempts or 0,
        "intervened": _verdict(meta.teacher_intervened),
        "valid": _verdict(meta.teacher_valid),
        "first": _verdict(meta.first_attempt_success),
        "available": _number(meta.entries_available),
        "learnt": _number(meta.entries_learnt),
        "rejected": _number(meta.entries_rejected),
        "learner_failed": int(meta.learning_error is not None),
    }


def _verdict(value: bool | None) -> int:
    return -1 if value is None else int(value)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
