"""The rows of training data: what TRL and other trainers read, and the facts beside it.

The columns that trainers read are those of TRL's dataset formats (https://huggingface.co/docs/trl/
dataset_formats): `messages` for supervised fine-tuning, `prompt`, `chosen` and `rejected` for preferences,
`prompt`, `completion` and `label` for rewards (its unpaired preference), each with `tools`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

from crm_assets.conversations.split import Split
from crm_assets.exports.training_attempts import Attempt, Attempts, TrainingRun
from crm_assets.exports.training_messages import Message

__all__ = ["COLUMNS", "FORMATS", "Format", "Row", "TrainingOptions", "preference_of", "rows_of"]

Format = Literal["chat", "preference", "rewards"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

Kind = Literal["text", "whole", "number", "verdict", "numbers", "messages", "tools"]
Row = dict[str, Any]

_CONVERSATION: Final[dict[str, Kind]] = {
    "conversation_id": "text",
    "content": "text",
    "dataset": "text",
    "dataset_revision": "text",
    "split": "text",
    "workflow": "text",
    "complexity": "text",
}
_ATTEMPT: Final[dict[str, Kind]] = {
    "run": "text",
    "epoch": "whole",
    "agent": "text",
    "model": "text",
    "strict_success": "verdict",
    "state_match": "verdict",
    "turn_share": "number",
    "reward": "number",
    "review_status": "text",
    "prompt_tokens": "whole",
    "completion_tokens": "whole",
}

COLUMNS: Final[Mapping[Format, Mapping[str, Kind]]] = {
    "chat": {"messages": "messages", "tools": "tools", **_CONVERSATION, **_ATTEMPT},
    "preference": {
        **dict.fromkeys(("prompt", "chosen", "rejected"), "messages"),
        "tools": "tools",
        **_CONVERSATION,
        **{f"{side}_{name}": kind for side in ("chosen", "rejected") for name, kind in _ATTEMPT.items()},
    },
    "rewards": {
        **dict.fromkeys(("prompt", "completion"), "messages"),
        "tools": "tools",
        "label": "verdict",
        "turn_rewards": "numbers",
        **_CONVERSATION,
        **_ATTEMPT,
    },
}
"""The columns of each format, in their order; every row has `tools`, which are the same in all."""


@dataclass(frozen=True)
class TrainingOptions:
    """What is exported, and in which form."""

    format: Format = "chat"
    split: Split | None = field(default_factory=Split)
    """Split whose part to teach on is exported; None to hold out only what studies do."""
    include_failures: bool = False
    """In chats, sessions without strict success, too."""
    approved_only: bool = True
    """Leave out sessions that wait for a review or were rejected."""


class _Place(NamedTuple):
    """Where an attempt is, so that it need not be kept."""

    rank: tuple[bool, float]
    run: TrainingRun
    offset: int
    review: str | None


@dataclass
class _Best:
    """The best and the worst attempt of a conversation; of equals, the first."""

    best: _Place
    worst: _Place

    def add(self, place: _Place) -> None:
        if place.rank > self.best.rank:
            self.best = place
        elif place.rank < self.worst.rank:
            self.worst = place


def rows_of(
    options: TrainingOptions,
    runs: list[TrainingRun],
    attempts: Attempts,
    progress: Callable[[int], object],
) -> Iterator[Row]:
    """Yield the rows of an export, without their `tools`.

    Args:
        options: what is exported.
        runs: the runs, in the order of the rows.
        attempts: what may be trained on.
        progress: called with the number of attempts read so far.
    """
    read = _counted((attempt for run in runs for attempt in attempts.of(run)), progress)
    split = "teach" if options.split else None
    if options.format == "preference":
        yield from _preferences(read, attempts, split)
        return
    for attempt in read:
        if options.format == "rewards":
            yield _rewarded(attempt, split)
        elif attempt.strict or options.include_failures:
            messages = [*attempt.run.chat.opening, *_joined(attempt.turns())]
            yield {"messages": messages, **_conversation(attempt, split), **attempt.facts()}
        else:
            attempts.left_out["sessions without strict success"] += 1


def _counted(attempts: Iterator[Attempt], progress: Callable[[int], object]) -> Iterator[Attempt]:
    for number, attempt in enumerate(attempts, 1):
        progress(number)
        yield attempt


def _conversation(attempt: Attempt, split: str | None) -> Row:
    header, facts = attempt.run.header, attempt.session.atlas_metadata
    return {
        "conversation_id": attempt.session.conversation_id,
        "content": attempt.content,
        "dataset": attempt.run.paths.key.dataset,
        "dataset_revision": header.dataset_revision,
        "split": split,
        "workflow": facts.workflow_category,
        "complexity": facts.complexity_level,
    }


def _joined(turns: list[list[Message]]) -> list[Message]:
    return [message for turn in turns for message in turn]


def _rewarded(attempt: Attempt, split: str | None) -> Row:
    opening, messages = attempt.run.chat.opening, _joined(attempt.turns())
    return {
        "prompt": [*opening, *messages[:1]],
        "completion": messages[1:],
        "label": attempt.strict,
        "turn_rewards": [
            None if turn.success is None else float(turn.success)
            for turn in attempt.result.per_turn_results
        ],
        **_conversation(attempt, split),
        **attempt.facts(),
    }


def _preferences(read: Iterator[Attempt], attempts: Attempts, split: str | None) -> Iterator[Row]:
    """Yield the best and the worst attempt of each conversation that differ.

    Copies of a content under other IDs are one conversation.
    """
    by_content: dict[str, _Best] = {}
    for attempt in read:
        place = _Place(attempt.rank, attempt.run, attempt.offset, attempt.review)
        known = by_content.get(attempt.content)
        if known is None:
            by_content[attempt.content] = _Best(place, place)
        else:
            known.add(place)
    for content, pair in by_content.items():
        row = None
        if pair.best.rank != pair.worst.rank:
            row = preference_of(_again(pair.best, content), _again(pair.worst, content), split)
        if row is None:
            attempts.left_out["conversations without a better and a worse attempt"] += 1
        else:
            yield row


def _again(place: _Place, content: str) -> Attempt:
    session = place.run.log.record_without_trace(place.offset)
    result = session.conversation_result
    return Attempt(place.run, place.offset, session, result, content, place.review)


def preference_of(chosen: Attempt, rejected: Attempt, split: str | None) -> Row | None:
    """Return the row of two attempts; None if their messages are the same.

    The prompt ends with what the user says in the first turn that differs: IDs that a session made
    itself, and all that follows from them, stand in its own messages alone.
    """
    better, worse = chosen.turns(), rejected.turns()
    shared = 0
    while shared < min(len(better), len(worse)) and better[shared] == worse[shared]:
        shared += 1
    while shared >= min(len(better), len(worse)) or better[shared][0] != worse[shared][0]:
        if shared == 0 or better == worse:
            return None
        shared -= 1
    return {
        "prompt": [*chosen.run.chat.opening, *_joined(better[:shared]), better[shared][0]],
        "chosen": [*better[shared][1:], *_joined(better[shared + 1 :])],
        "rejected": [*worse[shared][1:], *_joined(worse[shared + 1 :])],
        **_conversation(chosen, split),
        **{f"chosen_{name}": value for name, value in chosen.facts().items()},
        **{f"rejected_{name}": value for name, value in rejected.facts().items()},
    }
