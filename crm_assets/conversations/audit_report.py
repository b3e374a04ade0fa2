"""The report of a dataset's audit."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["AuditFact", "AuditReport", "ReplayFinding"]


class ReplayFinding(BaseModel):
    """A conversation whose ground truth does not replay as the dataset says."""

    model_config = ConfigDict(frozen=True)

    conversation_id: str
    """The conversation."""
    turn_id: int | None = None
    """The first turn that differs; None if the seeds already failed."""
    reason: str
    """The difference, as the rest of a sentence."""


class AuditFact(BaseModel):
    """One kind of finding in a dataset: number, conversations, examples."""

    total: int = 0
    """Number of findings."""
    conversations: int = 0
    """Number of conversations with at least one."""
    counts: dict[str, int] = Field(default_factory=dict)
    """{key: number of findings}, most frequent first."""
    examples: list[str] = Field(default_factory=list)
    """The first 20, each with its conversation; all of them on request."""


class AuditReport(BaseModel):
    """The audit of one dataset."""

    schema_version: Literal[1] = 1
    """Version of this document's form."""
    path: str
    """Path of the file, as given."""
    sha256: str
    """Hex SHA-256 of its bytes."""
    bytes: int
    """Size of the file."""
    conversations: int
    """Number of conversations."""
    turns: int
    """Number of turns."""
    chains: int
    """Number of conversations of several segments."""
    expected_failures: int
    """Number of turns that must fail."""
    expected_responses: int
    """Number of turns with a reference reply."""
    references: int
    """Number of `{{turn_N.field}}` in arguments and utterances."""
    by_workflow: dict[str, int]
    """{workflow category: number of conversations}."""
    by_complexity: dict[str, int]
    """{complexity level: number of conversations}."""
    by_tool: dict[str, int]
    """{expected tool: number of turns}."""
    unfillable_placeholders: AuditFact
    """Placeholders like `{stage}` in utterances and arguments that no turn can fill."""
    unreproducible_replies: AuditFact
    """Turns whose reference reply contains IDs or times that no other run can produce."""
    duplicate_ids: AuditFact
    """Conversation IDs that occur more than once."""
    copies: AuditFact = Field(default_factory=AuditFact)
    """Conversations with the seeds and turns of an earlier one, under any ID; they add no information."""
    misspelled_keys: AuditFact = Field(default_factory=AuditFact)
    """Unknown keys that resemble a known one, such as `expected_respone`; they are not read."""
    unread_seeds: AuditFact = Field(default_factory=AuditFact)
    """Seeds under a name that is not an entity, and conversations without `seed_data`."""
    ignored_seed_fields: AuditFact
    """Seed fields that the CRM does not have."""
    seeds_created_later: AuditFact
    """Seed rows whose ID a turn of the same conversation creates; not part of the initial state."""
    ground_truth_failures: AuditFact
    """Conversations whose ground truth does not replay; empty if `replayed` is False."""
    replayed: bool
    """True if the ground truth was replayed."""
