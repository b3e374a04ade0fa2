"""The smoke run: one conversation through the whole loop, and its checklist.

Each smoke run is kept in `data/smoke_log.jsonl`, beside the datasets and with them in git, so that the way
from a first try to graded runs can be followed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import InputError, first_line
from crm_assets.records import LoopSession, SessionLog
from crm_assets.workspace.baseline_files import BaselinePaths, RunFiles
from crm_assets.workspace.files import json_line, read_json
from crm_assets.workspace.jsonl import append_line, read_lines
from crm_assets.workspace.project import Project

__all__ = [
    "SmokeCheck",
    "SmokeEntry",
    "append_smoke_log",
    "read_smoke_log",
    "smoke_checks",
    "smoke_log",
    "smoke_metrics_check",
]

_LOG = "smoke_log.jsonl"
_LOOP_ROLES = ("student", "teacher", "judge")
_METRICS = ("execution_mode", "adaptive_summary", "session_reward", "reward_stats")
_SHORTEST_RATIONALE = 20  # characters: less is no reason


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SmokeCheck(_Record):
    """One line of the checklist."""

    name: str
    passed: bool
    description: str
    """The finding; for a failed check, what to inspect."""


class SmokeEntry(_Record):
    """One line of the smoke log."""

    schema_version: int = 1
    timestamp: str
    """ISO 8601, UTC."""
    dataset: str
    run: str
    config: str | None
    """The Atlas configuration's path."""
    conversation_id: str
    reward: float | None
    """Of the session; null where the judges gave none."""
    execution_mode: str | None
    models: dict[str, str]
    cost_usd: float | None
    passed: bool
    """Every check passed."""
    checks: tuple[SmokeCheck, ...]


def smoke_checks(files: RunFiles) -> tuple[SmokeCheck, ...]:
    """Return the checklist of a smoke run: a line each, in the order of the loop.

    Raises:
        InputError: there is not exactly one session.
    """
    session = _only_session(SessionLog(files.sessions))
    return tuple(
        SmokeCheck(name=name, passed=not problem, description=problem or found)
        for name, (problem, found) in (
            ("session_ran", _ran(session)),
            ("tools_called", _called(session)),
            ("execution_mode_paired", _mode(session)),
            ("reward_or_rationale", _reward(session)),
            ("tokens_per_role", _tokens(session)),
            ("adaptive_summary", _summary(session)),
            ("tool_calls_in_tables", _tables(session)),
            ("sandbox_restored", _restored(session)),
        )
    )


def smoke_metrics_check(files: RunFiles) -> SmokeCheck:
    """Return the line of the checklist that looks at a smoke run's metrics.json.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        metrics = read_json(files.metrics)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {files.metrics}: {error}; materialize baseline_metrics.") from error
    missing = [name for name in _METRICS if not metrics.get(name)]
    return SmokeCheck(
        name="metrics_complete",
        passed=not missing,
        description=f"metrics.json has no {', '.join(missing)}; see the lines of the session above."
        if missing
        else f"metrics.json has {', '.join(_METRICS)}.",
    )


_Finding = tuple["str | None", str]
"""A problem (None if there is none), and the finding."""


def _ran(session: LoopSession) -> _Finding:
    if session.ran is not None:
        return None, "The session ran to its end."
    reason = session.conversation_result.error_message or "no reason given"
    return f"The session is {session.status}: {reason}", ""


def _called(session: LoopSession) -> _Finding:
    turns = session.conversation_result.per_turn_results
    called = sum(turn.tool_name is not None for turn in turns)
    if not called:
        return (
            f"The student called no tool in {len(turns)} turns. If its server shows the model none (its "
            "chat template knows no tools), set agent.tool_mode to text, or to auto.",
            "",
        )
    return None, f"The student called a tool in {called} of {len(turns)} turns."


def _mode(session: LoopSession) -> _Finding:
    mode = session.atlas_metadata.execution_mode
    if mode == "paired":
        return None, "The execution mode is paired."
    return f"The execution mode is {mode}, not paired; set orchestration.forced_mode or --mode.", ""


def _reward(session: LoopSession) -> _Finding:
    reward = session.session_reward
    if reward is None or reward.score is None:
        return "The judges gave no reward; see reward_audit in the telemetry and the ledger.", ""
    rationale = (reward.judges[0].rationale or "").strip() if reward.judges else ""
    if reward.score > 0 or len(rationale) >= _SHORTEST_RATIONALE:
        return None, f"The reward is {reward.score:.3f}: {rationale or 'no rationale'}"
    return "The reward is 0 and its rationale gives no reason; check the judges' prompt and model.", ""


def _tokens(session: LoopSession) -> _Finding:
    totals = {role: used.total_tokens or 0 for role, used in session.atlas_metadata.token_usage.items()}
    missing = [role for role in _LOOP_ROLES if not totals.get(role)]
    if missing:
        return f"No tokens are reported for {', '.join(missing)}; see the ledger.", ""
    counted = ", ".join(f"{role} {total:,}" for role, total in totals.items())
    return None, f"Tokens by role: {counted}."


def _summary(session: LoopSession) -> _Finding:
    summary = session.adaptive_summary
    if summary is None or not summary.adaptive_mode:
        return "There is no adaptive summary.", ""
    return None, f"The adaptive summary says {summary.adaptive_mode} ({summary.source})."


def _tables(session: LoopSession) -> _Finding:
    sandbox = session.conversation_result.metadata.get("sandbox")
    if sandbox is None:
        return "Nothing is known of the sandbox; the session did not run to its end.", ""
    if sandbox["seen"] != sandbox["writes"]:
        return (
            f"The CRM's tables showed {sandbox['seen']} of {sandbox['writes']} changes that the tool calls "
            "reported.",
            "",
        )
    return None, f"The CRM's tables showed all {sandbox['writes']} changes while the session ran."


def _restored(session: LoopSession) -> _Finding:
    sandbox = session.conversation_result.metadata.get("sandbox")
    if sandbox is None or not sandbox["restored"]:
        return "The sandbox was not as before once the session was over; run crm-assets doctor.", ""
    return None, "The sandbox came back to its base."


def _only_session(log: SessionLog) -> LoopSession:
    sessions = list(itertools.islice(log.records(), 2))
    if len(sessions) != 1:
        count = "several" if sessions else "no"
        raise InputError(f"{log.sessions} holds {count} sessions; a smoke run is one.")
    return sessions[0]


def append_smoke_log(
    project: Project,
    paths: BaselinePaths,
    checks: tuple[SmokeCheck, ...],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> SmokeEntry:
    """Add a smoke run to the project's log; returns what was added.

    Raises:
        InputError: there is not exactly one session.
        InfrastructureError: the disk refused.
    """
    log = SessionLog(paths.sessions)
    session, run = _only_session(log), log.header
    costs = session.atlas_metadata.cost_usd
    entry = SmokeEntry(
        timestamp=clock().isoformat(timespec="seconds"),
        dataset=paths.key.dataset,
        run=str(paths.key.run),
        config=run.config_path,
        conversation_id=session.conversation_id,
        reward=session.session_reward.score if session.session_reward else None,
        execution_mode=session.atlas_metadata.execution_mode,
        models=(run.agent or {}).get("models") or {},
        cost_usd=sum(costs.values()) if costs else None,
        passed=all(check.passed for check in checks),
        checks=checks,
    )
    append_line(smoke_log(project), json_line(entry.model_dump()))
    return entry


def smoke_log(project: Project) -> Path:
    """Return the path of the log of smoke runs, one a line."""
    return project.root / "data" / _LOG


def read_smoke_log(project: Project) -> Iterator[SmokeEntry]:
    """Read the smoke runs of a project, oldest first.

    Raises:
        InputError: a line is not a smoke run's.
    """
    for path in (project.baselines / _LOG, smoke_log(project)):  # earlier versions kept it out of git
        for line in read_lines(path) if path.is_file() else ():
            try:
                yield SmokeEntry.model_validate_json(line.data)
            except ValidationError as error:
                raise InputError(
                    f"{path}, line {line.number}: {first_line(error)}; remove the line."
                ) from error
