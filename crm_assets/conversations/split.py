"""Splits a dataset by content into a part to teach on and a part that is held out.

Copies of a conversation (`work_hash`) are on one side, and every stream that learns (workflow and
complexity) is on both: a gain on the held-out part is no memory, and nothing there is of an untaught kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from crm_assets.conversations.conversation import Conversation
from crm_assets.errors import InputError

__all__ = ["Part", "Split", "Subset", "split_conversations"]

Part = Literal["teach", "held-out"]


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(_Choice):
    """Rule by which a dataset is split. The same split of the same dataset gives the same parts."""

    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the conversations to teach on, of each learning key."""
    seed: int = Field(default=0, ge=0)
    """Of the choice."""
    limit: int | None = Field(default=None, ge=1)
    """Number of conversations from the start of the dataset that are split; null for all."""


class Subset(_Choice):
    """One part of a split."""

    part: Part
    """The conversations to teach on, or those held out."""
    split: Split
    """Rule of the split."""

    def of(self, conversations: Iterable[Conversation]) -> Iterator[Conversation]:
        """Yield the conversations of a dataset that are in this part, in its order.

        Raises:
            InputError: the dataset cannot be split.
        """
        known = list(conversations)
        parts = split_conversations(known, self.split)
        return (each for each in known if parts.get(each.conversation_id) == self.part)

    def __str__(self) -> str:
        first = "" if self.split.limit is None else f" of its first {self.split.limit:,} conversations"
        return f"the {self.part} part{first} (share {self.split.share:g}, seed {self.split.seed})"


def split_conversations(conversations: Iterable[Conversation], split: Split) -> dict[str, Part]:
    """Return the part of each conversation by its ID.

    Conversations of learning keys with one content alone are left out, since they cannot be on both sides.

    Raises:
        InputError: nothing can be on both sides.
    """
    keys: dict[tuple[str, str], set[str]] = {}
    contents: dict[str, tuple[str, tuple[str, str]]] = {}
    first_key: dict[str, tuple[str, str]] = {}
    for number, each in enumerate(conversations):
        if split.limit is not None and number >= split.limit:
            break
        key = (each.workflow_category, each.complexity_level)
        contents[each.conversation_id] = each.work_hash, key
        keys.setdefault(first_key.setdefault(each.work_hash, key), set()).add(each.work_hash)
    side = {work: part for units in keys.values() for work, part in _sides(units, split)}
    sides: dict[tuple[str, str], set[Part]] = {}
    for work, key in contents.values():
        sides.setdefault(key, set()).add(side[work])
    parts = {name: side[work] for name, (work, key) in contents.items() if len(sides[key]) > 1}
    if not parts:
        raise InputError(
            "No workflow and complexity of this dataset has two different conversations, so none can be "
            "taught and held out; use a larger dataset."
        )
    return parts


def _sides(units: set[str], split: Split) -> Iterator[tuple[str, Part]]:
    """Yield the side of each content of a learning key, in an order that the seed alone decides."""
    ordered = sorted(units, key=lambda work: hashlib.sha256(f"{split.seed}:{work}".encode()).digest())
    taught = min(max(round(split.share * len(ordered)), 1), len(ordered) - 1)
    for position, work in enumerate(ordered):
        yield work, "teach" if position < taught else "held-out"
