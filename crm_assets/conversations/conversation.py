"""Models of a dataset: conversations, their turns, and the expected replies.

The models take a dataset's JSON as it is: types are strict (a number is never read as text), an absent
optional field takes its default, and unknown fields are ignored. Rules that span several fields live in
`rules`, so that a loader can report all violations at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from crm_assets.conversations.patterns import uuids_in

__all__ = ["Conversation", "ExpectedResponse", "JsonObject", "Turn"]


def _empty_object(value: object) -> object:
    return {} if value is None else value


def _empty_list(value: object) -> object:
    return () if value is None else value


JsonObject = dict[str, Any]
"""JSON values by key."""
DefaultObject = Annotated[JsonObject, BeforeValidator(_empty_object)]
"""A JSON object; null counts as an empty one."""
Name = Annotated[str, Field(min_length=1)]
# JSON has lists only: tuples alone are lax, so that one can be read into the other.
Integers = Annotated[tuple[int, ...], Field(strict=False), BeforeValidator(_empty_list)]
Strings = Annotated[tuple[str, ...], Field(strict=False), BeforeValidator(_empty_list)]


class _DatasetModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class ExpectedResponse(_DatasetModel):
    """The reply that the agent should give after a turn."""

    text: str
    """The reference reply."""
    evaluation: str = "structured"
    """The comparison that the dataset's author intended."""
    answers: Strings = ()
    """Every wording that counts as right; empty means `text` alone."""
    requires_judge: bool = False
    """True if only a judge can decide whether a reply is right."""


class Turn(_DatasetModel):
    """One request of the user and the tool call that answers it."""

    turn_id: int
    """Position in the conversation, from 1."""
    user_utterance: str
    """The user's request; may contain `{{turn_N.field}}`."""
    expected_tool: Name
    """Name of the tool that the ground truth calls."""
    expected_args: DefaultObject = Field(default_factory=dict)
    """Its arguments; may contain `{{turn_N.field}}`."""
    references_previous_turns: Integers = ()
    """Earlier turns that this one builds on."""
    expect_success: bool = True
    """False if the tool must refuse."""
    expected_error_substring: str | None = None
    """The kind of error, or a part of its message."""
    failure_category: str | None = None
    """The kind of bad request, if it must fail."""
    expected_response: ExpectedResponse | None = None
    """The expected reply; None if the dataset has none."""


class Conversation(_DatasetModel):
    """A user's requests in order, and the initial state of the CRM."""

    conversation_id: Annotated[str, Field(min_length=1, max_length=256)]
    """Unique within a dataset."""
    workflow_category: Name = "General"
    """The kind of work, such as "Quote Management"."""
    complexity_level: Name = "simple"
    """"simple", "medium" or "complex"."""
    turns: Annotated[tuple[Turn, ...], Field(strict=False, min_length=1)]
    """The turns in order."""
    initial_entities: DefaultObject = Field(default_factory=dict)
    """`seed_data`, and context that is not part of the state."""
    final_expected_state: DefaultObject = Field(default_factory=dict)
    """The author's notes about the end state; the replay of the ground truth decides."""
    success_criteria: str = "all_turns"
    """The author's definition of success."""
    contains_failure: bool = False
    """True if a turn is expected to fail."""
    failure_turn: int | None = None
    """The first turn that is expected to fail."""
    verification_mode: str = "database"
    """The author's way to verify the outcome."""
    chain_id: str | None = None
    """The kind of chain, for conversations of several segments."""
    segment_number: int | None = None
    """Position within a chain that is stored in pieces."""
    segment_boundaries: list[int] | None = None
    """The last turn of each segment."""
    expected_outcome: str | None = None
    """The author's description of the outcome."""
    cumulative_context: DefaultObject = Field(default_factory=dict)
    """Context that a chain passes between segments, and each segment's expected outcome."""

    @cached_property
    def seed_data(self) -> Mapping[str, Mapping[str, JsonObject]]:
        """Return the rows to start from, as {entity: {id: fields}}; empty if there are none."""
        seeds = self.initial_entities.get("seed_data") or {}
        return {entity: rows or {} for entity, rows in seeds.items()}

    @cached_property
    def content_hash(self) -> str:
        """Return the hex SHA-256 of the conversation as canonical JSON (sorted keys, no blanks)."""
        return _sha256(self.model_dump(mode="python"))

    @cached_property
    def work_hash(self) -> str:
        """Return the hex SHA-256 of the seeds and turns, which copies under another ID or label share."""
        return _sha256(self.model_dump(mode="python", include={"initial_entities", "turns"}))

    @cached_property
    def known_uuids(self) -> frozenset[str]:
        """Return the UUIDs of seeds and expected arguments, which every run has."""
        found = uuids_in(self.seed_data)
        for turn in self.turns:
            found |= uuids_in(turn.expected_args)
        return frozenset(found)

    def segment_of(self, turn_id: int) -> int:
        """Return the number of the segment that a turn belongs to, from 1; 1 if there are no segments."""
        boundaries = self.segment_boundaries or ()
        return 1 + sum(1 for last_turn in boundaries if last_turn < turn_id)


def _sha256(document: JsonObject) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
