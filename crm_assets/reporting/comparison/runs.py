"""One run of a comparison, read from its session log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from crm_assets.conversations.revision import read_revision_file
from crm_assets.errors import InputError
from crm_assets.records import RunHeader, Scalar, SessionLog, SessionSummary
from crm_assets.records.results import StrictFormula
from crm_assets.reporting.comparison.models import RunOutcome, RunSide
from crm_assets.reporting.comparison.provenance import RunFacts
from crm_assets.reporting.origin import origin_of
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["RunConversation", "RunOutcomes", "SessionRef", "outcomes_of", "read_run"]

_NONE = "(none)"


class SessionRef(NamedTuple):
    """One session's verdicts, and where the rest of it is."""

    conversation: str
    """The ID of its conversation."""
    offset: int
    """Bytes before its line."""
    epoch: int
    strict_success: bool | None
    turns_right: bool | None
    state_match: bool | None
    reward: float | None
    harness_reward: float | None

    @classmethod
    def of(cls, offset: int, session: SessionSummary) -> SessionRef:
        """Return what a comparison needs of a session; one that did not end has no verdict."""
        ran = session.ran
        return cls(
            conversation=session.conversation_id,
            offset=offset,
            epoch=session.epoch,
            strict_success=session.strict_success,
            turns_right=session.turns_right,
            state_match=session.state_match,
            reward=session.reward if ran else None,
            harness_reward=ran.reward_signal if ran else None,
        )


@dataclass
class RunConversation:
    """The sessions of one conversation."""

    workflow: str
    complexity: str
    work_hash: str | None
    """Of its content, which copies under other IDs share; None where older sessions do not say."""
    noop_state_match: bool | None = None
    """Whether an agent that calls nothing leaves the expected end state; None where that is not known."""
    sessions: list[SessionRef] = field(default_factory=list)
    """In the order of their epochs."""


@dataclass(frozen=True)
class RunOutcomes:
    """The outcomes of a run by conversation."""

    log: SessionLog
    side: RunSide
    facts: dict[str, Scalar]
    """Its facts, by path."""
    conversations: dict[str, RunConversation]
    """By ID."""

    def sessions(self, copies: Sequence[str]) -> list[SessionRef]:
        """Return the sessions of one content: of the conversations whose IDs are `copies`."""
        return [session for name in copies for session in self.conversations[name].sessions]

    def outcome(self, copies: Sequence[str]) -> RunOutcome:
        """Return the outcome of one content, as means over its sessions, named by the first of `copies`."""
        first, sessions = self.conversations[copies[0]], self.sessions(copies)
        return RunOutcome(
            conversation=copies[0],
            workflow=first.workflow,
            complexity=first.complexity,
            sessions=len(sessions),
            strict_success=_mean(each.strict_success for each in sessions),
            turns_right=_mean(each.turns_right for each in sessions),
            state_match=_mean(each.state_match for each in sessions),
            reward=_mean(each.reward for each in sessions),
            harness_reward=_mean(each.harness_reward for each in sessions),
            noop_state_match=first.noop_state_match,
        )


def read_run(paths: BaselinePaths) -> RunOutcomes:
    """Read the outcomes of a finished baseline.

    Raises:
        InputError: it is not finished, its sessions cannot be read or are of several runs.
    """
    if not paths.has_sessions:
        raise InputError(
            f"Baseline {paths.key} has no sessions.jsonl yet: finish it, or choose another run of "
            f"dataset {paths.key.dataset}."
        )
    found: dict[str, RunConversation] = {}
    statuses: Counter[str] = Counter()
    formulas: set[StrictFormula] = set()
    log, facts = SessionLog(paths.sessions), RunFacts()
    for number, offset, session in log.summaries():
        facts.add(session)
        kept = found.setdefault(session.conversation_id, _conversation(session))
        if any(other.epoch == session.epoch for other in kept.sessions):
            raise InputError(
                f"{paths.sessions}, line {number}: conversation {session.conversation_id!r} stands twice "
                f"in epoch {session.epoch}, so it cannot be told which one to compare; make the baseline "
                "again from a dataset whose conversation IDs are unique."
            )
        if session.ran is not None:
            formulas.add(session.ran.strict_formula)
            kept.noop_state_match = session.ran.noop_state_match
        kept.sessions.append(SessionRef.of(offset, session))
        statuses[session.status] += 1
    formula: StrictFormula = "turns" if "turns" in formulas else "turns_and_state"
    for each in found.values():
        each.sessions.sort(key=attrgetter("epoch"))
        if formula == "turns":  # by the formula that all lines know
            each.sessions = [ref._replace(strict_success=ref.turns_right) for ref in each.sessions]
    return RunOutcomes(
        log=log,
        side=_side(paths, log.header, statuses, found, formula),
        facts=facts.complete(log.header),
        conversations=found,
    )


def _conversation(session: SessionSummary) -> RunConversation:
    meta, result = session.atlas_metadata, session.conversation_result
    return RunConversation(
        workflow=meta.workflow_category or _NONE,
        complexity=meta.complexity_level or _NONE,
        work_hash=result.work_hash if result else None,
    )


def outcomes_of(paths: BaselinePaths) -> list[RunOutcome]:
    """Return the outcomes of a finished baseline, one for each conversation ID.

    Raises:
        InputError: as `read_run`.
    """
    run = read_run(paths)
    return [run.outcome([name]) for name in run.conversations]


def _side(
    paths: BaselinePaths,
    header: RunHeader,
    statuses: Counter[str],
    conversations: Mapping[str, RunConversation],
    formula: StrictFormula,
) -> RunSide:
    revision = header.dataset_revision
    if revision is None and paths.revision.is_file():
        revision = read_revision_file(paths.revision).sha256
    return RunSide(
        run=str(paths.key.run),
        run_id=header.run_id,
        agent=header.agent_name,
        dataset_revision=revision,
        strict_success_formula=formula,
        sessions=sum(statuses.values()),
        conversations=len(conversations),
        epochs=max(len(each.sessions) for each in conversations.values()),
        statuses=dict(sorted(statuses.items())),
        taught_by=header.playbook.taught_by if header.playbook else None,
        origin=origin_of(header.agent_config, header.replay_of),
    )


def _mean(values: Iterable[float | bool | None]) -> float | None:
    """Return the mean of the values that are known; None without any."""
    kept = [float(value) for value in values if value is not None]
    return sum(kept) / len(kept) if kept else None
