"""Parts of metrics.json: groups of conversations and turns, and failures."""

from __future__ import annotations

from crm_assets.reporting.figures import Model, Rate

__all__ = [
    "Bounds",
    "ConversationGroup",
    "FailureExample",
    "FailureKind",
    "InfrastructureFailure",
    "ReplyCounts",
    "TurnGroup",
]


class Bounds(Model):
    """Strict success with the sessions without a verdict counted as failed, and as succeeded."""

    missing: int
    """Sessions without a verdict: infrastructure failures, undecided ones, and those that did not run
    because the budget was spent."""
    worst: Rate
    """All of them counted as failed."""
    best: Rate
    """All of them counted as succeeded."""


class ReplyCounts(Model):
    """Replies of the executed turns, by whether they have a verdict."""

    scored: int
    """Match or mismatch: the only ones that response rates count."""
    unscored: int
    """No verdict was possible, for instance without a judge."""
    not_applicable: int
    """There was nothing to compare."""


class ConversationGroup(Model):
    """The conversations of one workflow or complexity."""

    conversations: int
    """All of them, finished or not, each content once."""
    ran: int
    """Those of which a session finished."""
    sessions: int | None = None
    """Their sessions, finished or not; null where an older version did not count them."""
    strict_success: Rate
    """Sessions with strict success."""
    state_match: Rate
    """Sessions that left the CRM in the expected state."""
    turn_tool_success: Rate
    """Turns with the correct tool call."""
    turn_response_success: Rate
    """Scored replies that were correct."""


class TurnGroup(Model):
    """The executed turns of one expected tool or one position."""

    turns: int
    """Turns that were executed."""
    turn_success: Rate
    """Turns that succeeded as a whole."""
    turn_tool_success: Rate
    """Turns with the correct tool call."""
    turn_response_success: Rate
    """Scored replies that were correct."""


class FailureExample(Model):
    """One failed turn as an example."""

    conversation_id: str
    """The conversation, as in the dataset."""
    turn_id: int
    """The turn, from 1."""
    first_failure: bool
    """True for the conversation's first failed turn: a cause, not a consequence."""
    user_utterance: str
    """The user's request, shortened."""
    expected_tool: str | None
    """The tool of the ground truth."""
    called_tool: str | None
    """The tool that the agent called; null if it called none."""
    detail: str | None
    """The difference in the arguments, or the error, shortened."""


class FailureKind(Model):
    """One way in which turns failed."""

    kind: str
    """The harness's `verification` of the turn."""
    turns: int
    """Failed turns of this kind."""
    share_of_turns: Rate
    """Their share of the executed turns that have a verdict."""
    conversations: int
    """Conversations with at least one of them."""
    first_failures: int
    """Conversations of which a session's first failed turn was one of them."""
    examples: tuple[FailureExample, ...]
    """Up to three, from different conversations; first failures before others."""


class InfrastructureFailure(Model):
    """One reason why sessions did not finish."""

    message: str
    """The error, shortened."""
    sessions: int
    """Sessions that it ended."""
    example: str
    """One of their conversations."""
