"""What is run: conversations, their turns, and the replies expected of an agent.

The models take a dataset's JSON as it is: types are strict (a number is never read as text), an absent
optional field takes its default, and unknown fields are ignored. Rules that span several fields live in
`rules`, so that a loader can report every one that is broken at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from crm_assets.conversations.patterns import uuids_in

__all__ = ["Conversation", "ExpectedResponse", "Turn"]


def _empty_object(value: Any) -> Any:
    return {} if value is None else value


def _empty_list(value: Any) -> Any:
    return () if value is None else value


JsonObject = Annotated[dict[str, Any], BeforeValidator(_empty_object)]
"""A JSON object; null counts as an empty one."""
Name = Annotated[str, Field(min_length=1)]
# JSON has lists only: tuples alone are lax, so that one can be read into the other.
Integers = Annotated[tuple[int, ...], Field(strict=False), BeforeValidator(_empty_list)]
Strings = Annotated[tuple[str, ...], Field(strict=False), BeforeValidator(_empty_list)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class ExpectedResponse(_Record):
    """What the agent should tell the user after a turn."""

    text: str
    """The reference reply."""
    evaluation: str = "structured"
    """How the dataset's author meant the reply to be compared."""
    answers: Strings = ()
    """Every wording that counts as right; none means `text` alone."""
    requires_judge: bool = False
    """Whether only a judge can say if a reply is right."""


class Turn(_Record):
    """One request of the user and the tool call that answers it."""

    turn_id: int
    """Position in the conversation, from 1."""
    user_utterance: str
    """What the user says; may hold `{{turn_N.field}}`."""
    expected_tool: Name
    """The tool that the ground truth calls."""
    expected_args: JsonObject = Field(default_factory=dict)
    """Its arguments; may hold `{{turn_N.field}}`."""
    references_previous_turns: Integers = ()
    """Earlier turns that this one builds on."""
    expect_success: bool = True
    """False where the tool must refuse."""
    expected_error_substring: str | None = None
    """The kind of error, or a part of its message."""
    failure_category: str | None = None
    """What is wrong with the request, where it must fail."""
    expected_response: ExpectedResponse | None = None
    """The reply expected of the agent; None where the dataset has none."""


class Conversation(_Record):
    """A user's requests in order, and the state of the CRM that they start from."""

    conversation_id: Annotated[str, Field(min_length=1, max_length=256)]
    """Unique within a dataset."""
    workflow_category: Name = "General"
    """What kind of work it is, such as "Quote Management"."""
    complexity_level: Name = "simple"
    """"simple", "medium" or "complex"."""
    turns: Annotated[tuple[Turn, ...], Field(strict=False, min_length=1)]
    """The turns in order."""
    initial_entities: JsonObject = Field(default_factory=dict)
    """`seed_data` and context that is not part of the state."""
    final_expected_state: JsonObject = Field(default_factory=dict)
    """The author's notes about the end state; the ground truth's own run decides."""
    success_criteria: str = "all_turns"
    """What the author counts as success."""
    contains_failure: bool = False
    """Whether a turn is expected to fail."""
    failure_turn: int | None = None
    """The first turn that is expected to fail."""
    verification_mode: str = "database"
    """Where the author looks for the outcome."""
    chain_id: str | None = None
    """The kind of chain, for conversations of several segments."""
    segment_number: int | None = None
    """Position within a chain that is stored in pieces."""
    segment_boundaries: list[int] | None = None
    """The last turn of each segment."""
    expected_outcome: str | None = None
    """The author's words for how it ends."""
    cumulative_context: JsonObject = Field(default_factory=dict)
    """What a chain hands from segment to segment, and each segment's expected outcome."""

    @cached_property
    def seed_data(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """The rows to start from, as {entity: {id: fields}}; empty where there are none."""
        seeds = self.initial_entities.get("seed_data") or {}
        return {entity: rows or {} for entity, rows in seeds.items()}

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the conversation as canonical JSON (sorted keys, no blanks)."""
        return _sha256(self.model_dump(mode="python"))

    @cached_property
    def work_hash(self) -> str:
        """SHA-256 of the seeds and turns alone: equal for copies under another ID or label."""
        return _sha256(self.model_dump(mode="python", include={"initial_entities", "turns"}))

    @cached_property
    def known_uuids(self) -> frozenset[str]:
        """The UUIDs every run has: those of the seeds and of the expected arguments."""
        found = uuids_in(self.seed_data)
        for turn in self.turns:
            found |= uuids_in(turn.expected_args)
        return frozenset(found)

    def segment_of(self, turn_id: int) -> int:
        """The segment that a turn belongs to, from 1; 1 where there are no segments."""
        boundaries = self.segment_boundaries or ()
        return 1 + sum(1 for last_turn in boundaries if last_turn < turn_id)


def _sha256(document: JsonObject) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
