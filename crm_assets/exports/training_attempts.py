"""The sessions of runs that may be trained on, and how many are left out for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from crm_assets.errors import InputError
from crm_assets.exports.training_messages import Message, RunChat
from crm_assets.exports.training_split import Taught
from crm_assets.records import ConversationResult, LoopSession, RoleUsage, RunHeader, SessionLog
from crm_assets.reporting.origin import origin_of
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["Attempt", "Attempts", "Reviews", "TrainingRun", "choose_runs"]

Reviews = Mapping[tuple[str, int], str]
"""Review status by conversation and epoch."""
Reason = Literal[
    "sessions of held-out conversations",
    "sessions of conversations in neither part of the split",
    "sessions without a verdict",
    "sessions that are not approved",
]


class TrainingRun(NamedTuple):
    """A run to export."""

    paths: BaselinePaths
    log: SessionLog
    header: RunHeader
    chat: RunChat

    @property
    def key(self) -> str:
        """Its run key."""
        return str(self.paths.key.run)

    @property
    def model(self) -> str | None:
        """The student's model; None for an agent without one."""
        model = (self.header.agent or {}).get("model")
        return model if isinstance(model, str) else None


@dataclass(frozen=True)
class Attempt:
    """A session that may be trained on."""

    run: TrainingRun
    offset: int
    """Bytes before its line."""
    session: LoopSession
    result: ConversationResult
    content: str
    """Hash of its conversation's seeds and turns."""
    review: str | None
    """Its review status today; None for one that needs no review."""

    @property
    def strict(self) -> bool:
        """Strict success."""
        return bool(self.result.overall_success)

    @property
    def rank(self) -> tuple[bool, float]:
        """Rank among attempts: by strict success, then by the share of turns that succeeded."""
        return self.strict, self.result.reward_signal or 0.0

    def turns(self) -> list[list[Message]]:
        """Return its messages, turn by turn."""
        return list(self.run.chat.turns(self.result.per_turn_results))

    def facts(self) -> dict[str, Any]:
        """Return what a row says of its verdicts."""
        given = self.session.atlas_metadata.session_reward
        used = self.session.atlas_metadata.token_usage.get("student", RoleUsage())
        return {
            "run": self.run.key,
            "epoch": self.session.epoch,
            "agent": self.run.header.agent_name,
            "model": self.run.model,
            "strict_success": self.strict,
            "state_match": self.result.state_match,
            "turn_share": self.result.reward_signal,
            "reward": given.score if given else None,
            "review_status": self.review,
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
        }


@dataclass
class Attempts:
    """Reads attempts, and counts on the way what it leaves out."""

    taught: Taught
    reviews: Callable[[str], Reviews]
    approved_only: bool = True
    left_out: Counter[str] = field(default_factory=Counter)
    """Their numbers, by what they are."""
    held_out: set[str] = field(default_factory=set)
    """The conversations among them that are held out."""

    def of(self, run: TrainingRun) -> Iterator[Attempt]:
        """Yield the attempts of a run, in the order of its file."""
        reviews = self.reviews(run.header.run_id or "")
        for offset, session in run.log.located():
            found = self.at(run, offset, session, reviews)
            if isinstance(found, Attempt):
                yield found
                continue
            self.left_out[found] += 1
            if found == "sessions of held-out conversations":
                self.held_out.add(session.conversation_id)

    def at(self, run: TrainingRun, offset: int, session: LoopSession, reviews: Reviews) -> Attempt | Reason:
        """Return a session as an attempt, or the reason to leave it out."""
        result, name = session.conversation_result, session.conversation_id
        content = result.work_hash or self.taught.contents.get(name)
        if content in self.taught.held_out or content is None:
            return "sessions of held-out conversations"
        if content not in self.taught.allowed:
            return "sessions of conversations in neither part of the split"
        if session.ran is None or result.overall_success is None:
            return "sessions without a verdict"
        review = reviews.get((name, session.epoch), session.atlas_metadata.review_status)
        if self.approved_only and review not in (None, "approved"):
            return "sessions that are not approved"
        return Attempt(run, offset, session, result, content, review)


def choose_runs(
    runs: Sequence[BaselinePaths], revision: str, *, named: bool
) -> tuple[list[TrainingRun], list[str]]:
    """Return the runs to export, and a sentence for each one that is left out.

    Args:
        runs: finished runs, oldest first.
        revision: hex SHA-256 of the dataset's file today: the split is one of this revision.
        named: the user named them. Else runs of other revisions and of agents without a model are left out.

    Raises:
        InputError: a named run is of another revision, or ran the held-out part of a study.
    """
    chosen: list[TrainingRun] = []
    left_out: list[str] = []
    measured: dict[str, str] = {}
    for paths in runs:
        log, key = SessionLog(paths.sessions), str(paths.key.run)
        header = log.header
        origin = origin_of(header.agent_config, header.replay_of)
        results = origin.sample if origin else str(paths.key)
        run = TrainingRun(paths, log, header, RunChat(None, 1))
        problem = None
        if header.subset is not None and header.subset.part == "held-out":
            problem = "ran conversations that a study holds out"
        elif header.dataset_revision != revision:
            problem = "is of another revision of the dataset than the file is today"
        elif run.model is not None and header.settings is None:
            problem = "does not record its settings, and with them the student's prompt"
        if problem is not None and named:
            raise InputError(
                f"Run {key} {problem}, so it cannot be exported for training; name other runs."
            )
        if problem is None and results in measured:
            problem = f"holds the same results as run {measured[results]}"
        if problem is None and run.model is None and not named:
            problem = "is of an agent without a model"
        if problem is not None:
            left_out.append(f"Run {key} {problem}.")
            continue
        measured[results] = key
        chosen.append(run._replace(chat=RunChat.of(header)))
    return chosen, left_out
