"""Quality thresholds: facts that a reader should know before trusting a baseline's figures.

As in `integrity`, everything is read from disk; a check that cannot be made is a problem, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from crm_assets.audit.integrity import Verdict
from crm_assets.records import SessionLog
from crm_assets.reporting import Metrics
from crm_assets.reporting.formats import dollars, percent, share
from crm_assets.reporting.wording import unit_of

__all__ = [
    "Budgets",
    "find_audit_findings",
    "find_drift",
    "find_missing_tool_calls",
    "find_missing_verdicts",
    "find_overspending",
    "find_unstored_sessions",
]

_NAMED = 3


class Budgets(NamedTuple):
    """The budgets of a run; None for no limit."""

    usd: float | None = None
    tokens: int | None = None


def find_missing_verdicts(metrics: Metrics, *, most: float) -> Verdict:
    """Check that at most the share `most` (0–1) of conversations has no verdict."""
    bounds, total = metrics.strict_success_bounds, metrics.total_sessions
    missing = bounds.missing if bounds else 0
    if bounds is None or missing <= most * total:
        return Verdict.good(total)
    reasons = "; ".join(
        f"{each.sessions} × {each.message.rstrip('.')}" for each in metrics.infrastructure_failures[:_NAMED]
    )
    return Verdict(
        f"{missing:,} of {total:,} {unit_of(metrics)}s have no verdict ({share(missing / total)}, the "
        f"threshold is {share(most)}): strict success is between {percent(bounds.worst)} and "
        f"{percent(bounds.best)}, and should not be quoted without that. "
        f"{reasons + '. ' if reasons else ''}Fix the cause and run it again with resume.",
        total,
    )


def find_missing_tool_calls(metrics: Metrics, *, most: float) -> Verdict:
    """Find out if the agent called no tool in more than the share `most` (0–1) of the turns."""
    missing = sum(each.turns for each in metrics.failure_kinds if each.kind == "no_tool_call")
    if missing <= most * metrics.turns_executed:
        return Verdict.good(metrics.turns_executed)
    return Verdict(
        f"The agent called no tool in {missing:,} of {metrics.turns_executed:,} turns. If the model's "
        "server shows it no tools (its chat template knows none), set agent.tool_mode to text, or to auto.",
        metrics.turns_executed,
    )


def find_overspending(metrics: Metrics, budgets: Budgets) -> Verdict:
    """Check that a run stayed within its budgets, did not end on them, and knows its cost."""
    tokens, cost, total = metrics.own_tokens or 0, metrics.own_cost_usd, metrics.total_sessions
    problems = []
    if budgets.tokens is not None and tokens > budgets.tokens:
        problems.append(f"It used {tokens:,} tokens of a budget of {budgets.tokens:,}.")
    if budgets.usd is not None and cost is None and tokens:
        problems.append(f"Its cost is unknown, and its budget was {dollars(budgets.usd)}.")
    if budgets.usd is not None and cost is not None and cost > budgets.usd:
        problems.append(f"It cost {dollars(cost)} of a budget of {dollars(budgets.usd)}.")
    if metrics.not_run:
        problems.append(
            f"The budget ended before {metrics.not_run:,} of {total:,} {unit_of(metrics)}s; raise it and "
            "run again with resume."
        )
    return Verdict(" ".join(problems) or None, total)


def find_drift(sessions: Path, *, most: float) -> Verdict:
    """Check that at most the share `most` (0–1) of rewards is far from those that the key had before.

    Raises:
        InputError: a line is no session.
    """
    alerts, rewarded = [], 0
    for _, _, session in SessionLog(sessions).summaries():
        if session.atlas_metadata.session_reward is not None:
            rewarded += 1
            if session.atlas_metadata.drift_alert:
                alerts.append(session.conversation_id)
    if len(alerts) <= most * rewarded:
        return Verdict.good(rewarded)
    return Verdict(
        f"The rewards of {len(alerts):,} of {rewarded:,} sessions are far from those before them "
        f"({share(len(alerts) / rewarded)}, the threshold is {share(most)}): {_some(alerts)}. Check "
        "whether a judge's model, its prompt or the dataset changed; compare with the run before.",
        rewarded,
    )


def find_unstored_sessions(sessions: Path, stored: Mapping[str, str]) -> Verdict:
    """Check that every session of an Atlas run is in the telemetry database with the same status.

    Args:
        sessions: the run's sessions.jsonl.
        stored: the status of each session in the database, by session key.

    Raises:
        InputError: a line is no session.
    """
    from crm_assets.engine import session_key  # noqa: PLC0415  (metrics alone need none of it)

    wrong, looked_at = [], 0
    for _, _, session in SessionLog(sessions).summaries():
        if session.status not in ("succeeded", "failed"):
            continue  # never began, or was given up when the budget was spent
        looked_at += 1
        key = session_key(session.task_id, session.epoch)
        if stored.get(key) != session.status:
            wrong.append(f"{key} ({stored.get(key) or 'missing'})")
    if not wrong:
        return Verdict.good(looked_at)
    return Verdict(
        f"{len(wrong):,} of {looked_at:,} sessions are missing in the telemetry database or have another "
        f"status than in sessions.jsonl: {_some(wrong)}. Check that STORAGE__DATABASE_URL is "
        "the one that the run used; a replayed run leaves no telemetry.",
        looked_at,
    )


def find_audit_findings(findings: Mapping[str, int], *, conversations: int, replayed: bool) -> Verdict:
    """Check that the audit of a dataset found nothing that makes scores on it mean less."""
    problems = [f"{count:,} {name.replace('_', ' ')}" for name, count in findings.items() if count]
    if not replayed:
        problems.append("the ground truth was not replayed")
    if not problems:
        return Verdict.good(conversations)
    return Verdict(
        f"The audit found {', '.join(problems)}; examples are in the metadata of dataset_revision, all of "
        "it in crm-assets datasets audit.",
        conversations,
    )


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
