"""One run of a comparison, read from its session log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from crm_assets.conversations.revision import read_revision_file
from crm_assets.errors import InputError
from crm_assets.records import RunHeader, Scalar, SessionLog, SessionSummary
from crm_assets.reporting.comparison.models import Outcome, RunSide
from crm_assets.reporting.comparison.provenance import RunFacts
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["RunOutcomes", "SessionRef", "outcomes_of", "read_run"]

_NONE = "(none)"


class SessionRef(NamedTuple):
    """One session's verdicts, and where the rest of it is."""

    offset: int
    """Bytes before its line."""
    epoch: int
    strict_success: bool | None
    state_match: bool | None


@dataclass(frozen=True)
class RunOutcomes:
    """The outcomes of a run by conversation."""

    log: SessionLog
    side: RunSide
    facts: dict[str, Scalar]
    """Its facts, by path."""
    outcomes: dict[str, Outcome]
    """By conversation."""
    sessions: dict[str, tuple[SessionRef, ...]]
    """By conversation, in the order of their epochs."""


@dataclass
class _Gathered:
    """One conversation's sessions, as they come by."""

    workflow: str
    complexity: str
    sessions: list[SessionRef] = field(default_factory=list)
    rewards: list[float | None] = field(default_factory=list)
    harness_rewards: list[float | None] = field(default_factory=list)

    def add(self, offset: int, session: SessionSummary) -> None:
        ran = session.ran
        self.sessions.append(SessionRef(offset, session.epoch, session.strict_success, session.state_match))
        self.rewards.append(session.reward if ran else None)
        self.harness_rewards.append(ran.reward_signal if ran else None)

    def outcome(self, conversation: str) -> Outcome:
        return Outcome(
            conversation=conversation,
            workflow=self.workflow,
            complexity=self.complexity,
            epochs=len(self.sessions),
            strict_success=_mean(session.strict_success for session in self.sessions),
            state_match=_mean(session.state_match for session in self.sessions),
            reward=_mean(self.rewards),
            harness_reward=_mean(self.harness_rewards),
        )


def read_run(paths: BaselinePaths) -> RunOutcomes:
    """Read the outcomes of a finished baseline.

    Raises:
        InputError: it is not finished, its sessions cannot be read or are of several runs.
    """
    if not paths.finished:
        raise InputError(
            f"Baseline {paths.key} has no sessions.jsonl yet: finish it, or choose another run of "
            f"dataset {paths.key.dataset}."
        )
    gathered: dict[str, _Gathered] = {}
    statuses: Counter[str] = Counter()
    log, facts = SessionLog(paths.sessions), RunFacts()
    for number, offset, session in log.summaries():
        facts.add(session)
        meta = session.atlas_metadata
        kept = gathered.setdefault(
            session.conversation_id,
            _Gathered(meta.workflow_category or _NONE, meta.complexity_level or _NONE),
        )
        if any(other.epoch == session.epoch for other in kept.sessions):
            raise InputError(
                f"{paths.sessions}, line {number}: conversation {session.conversation_id!r} stands twice "
                f"in epoch {session.epoch}, so it cannot be told which one to compare; make the baseline "
                "again from a dataset whose conversation IDs are unique."
            )
        kept.add(offset, session)
        statuses[session.status] += 1
    sessions = {name: tuple(sorted(each.sessions, key=_epoch)) for name, each in gathered.items()}
    return RunOutcomes(
        log=log,
        side=_side(paths, log.header, statuses, sessions),
        facts=facts.complete(log.header),
        outcomes={name: each.outcome(name) for name, each in gathered.items()},
        sessions=sessions,
    )


def outcomes_of(paths: BaselinePaths) -> list[Outcome]:
    """Return the outcomes of a finished baseline, one for each conversation.

    Raises:
        InputError: as `read_run`.
    """
    return list(read_run(paths).outcomes.values())


def _side(
    paths: BaselinePaths,
    header: RunHeader,
    statuses: Counter[str],
    sessions: dict[str, tuple[SessionRef, ...]],
) -> RunSide:
    revision = header.dataset_revision
    if revision is None and paths.revision.is_file():
        revision = read_revision_file(paths.revision).sha256
    return RunSide(
        run=str(paths.key.run),
        run_id=header.run_id,
        agent=header.agent_name,
        dataset_revision=revision,
        sessions=sum(statuses.values()),
        conversations=len(sessions),
        epochs=max(len(each) for each in sessions.values()),
        statuses=dict(sorted(statuses.items())),
    )


def _epoch(session: SessionRef) -> int:
    return session.epoch


def _mean(values: Iterable[float | bool | None]) -> float | None:
    """Return the mean of the values that are known; None without any."""
    kept = [float(value) for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None
