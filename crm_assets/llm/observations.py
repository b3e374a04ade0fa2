"""Keeps what a client finds out about models and their servers as it asks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crm_assets.errors import ConfigError
from crm_assets.llm.entries import LedgerEntry
from crm_assets.llm.messages import ChatReply, ChatRequest
from crm_assets.llm.pricing import Price
from crm_assets.llm.replies import Completion
from crm_assets.llm.spec import ModelSpec

__all__ = ["Observations", "Place"]

_MOST_CHARACTERS_A_TOKEN = 12
"""More characters a prompt token than any tokenizer makes of English and JSON."""
_FEW_CHARACTERS = 2000
_LONGEST_TIMEOUT = 10
"""Maximum growth of a model's timeout, as a factor."""
_CUT_SHORT = frozenset({"length", "content_filter", "refusal"})


@dataclass(frozen=True)
class Place:
    """A model's route: server and prices."""

    server: str
    own_server: bool
    price: Price


class Observations:
    """State of the models, for later calls and for progress."""

    def __init__(self, answered: Mapping[str, list[str]], *, needs_usage: bool) -> None:
        """Know nothing but who has answered.

        Args:
            answered: by model, who answered in earlier starts of the run.
            needs_usage: there is a budget, which cannot be kept if a server reports no usage.
        """
        self.trouble: str | None = None
        """The last error, until a call succeeds."""
        self.mixed: str | None = None
        """Models answered by more than one model or server."""
        self._answered = {model: list(by) for model, by in answered.items()}
        self._needs_usage = needs_usage
        self._timeouts: dict[ModelSpec, float] = {}
        self._refusals: dict[str, ConfigError] = {}
        self._takes_tools: set[ModelSpec] = set()
        self._toolless: dict[ModelSpec, str] = {}
        """Models whose server ignores tools, and what to do about it."""

    def timeout_seconds(self, spec: ModelSpec) -> float:
        """Return how long a call may take."""
        return self._timeouts.get(spec, spec.timeout_seconds)

    def refuse(self, spec: ModelSpec, error: ConfigError) -> None:
        """Let no further call to a model through."""
        self._refusals[spec.name] = error

    def require_usable(self, request: ChatRequest) -> None:
        """Check that nothing is known for which a request would be in vain.

        Raises:
            ConfigError: the key was refused, the server ignores tools, or the budget cannot be kept there.
        """
        spec = request.model
        if request.tools and spec in self._toolless:
            raise ConfigError(self._toolless[spec])
        refusal = self._refusals.get(spec.name)
        if refusal is not None:
            raise ConfigError(str(refusal))

    def look_at(
        self, request: ChatRequest, completion: Completion, entry: LedgerEntry, place: Place
    ) -> None:
        """Draw conclusions from an attempt."""
        spec = request.model
        if completion.failure is not None:
            self.trouble = f"{spec.name}: {completion.failure.message}"
            if completion.failure.kind == "timeout" and place.own_server:
                self._give_more_time(spec, entry.latency_seconds)
            return
        self.trouble = None
        self._look_at_answering(entry)
        if completion.reply is not None:
            self._look_at_tools(request, completion, completion.reply, place)
        if completion.usage is None and self._needs_usage and completion.cost_usd is None:
            self._refusals[spec.name] = ConfigError(
                f"{spec.name} at {entry.server} reports no token usage, so a budget cannot be kept; "
                "run without one, or set its usd_per_million_* to 0 if it costs nothing."
            )

    def _give_more_time(self, spec: ModelSpec, seconds: float) -> None:
        limit = min(self.timeout_seconds(spec) * 2, spec.timeout_seconds * _LONGEST_TIMEOUT)
        if seconds * 2 >= limit:  # of many that time out together, the first counts
            self._timeouts[spec] = limit
            self.trouble = f"{self.trouble}; it gets {limit:g} s from here on"

    def _look_at_answering(self, entry: LedgerEntry) -> None:
        if entry.answered is None:
            return
        asked, by = entry.answered
        known = self._answered.setdefault(asked, [])
        if by not in known:
            known.append(by)
        if len(known) > 1:
            self.mixed = f"{asked} was answered by {' and by '.join(known)}"

    def _look_at_tools(
        self, request: ChatRequest, completion: Completion, reply: ChatReply, place: Place
    ) -> None:
        """Notice a server that ignores the tools, so that they are not even in the prompt."""
        spec = request.model
        if not request.tools or request.tool_choice == "none" or spec in self._takes_tools:
            return
        if reply.tool_calls:
            self._takes_tools.add(spec)
        elif sign := _sign_of_ignored_tools(request, completion, reply):
            self._toolless[spec] = (
                f"{spec.name} at {place.server} ignores tools: {sign}. Its chat template knows no tools: "
                "set agent.tool_mode to text, or to auto."
            )


def _sign_of_ignored_tools(request: ChatRequest, completion: Completion, reply: ChatReply) -> str | None:
    """Return what shows that a reply's model was not shown the tools; None where nothing does."""
    usage = completion.usage
    if usage is None:
        if request.tool_choice == "required" and reply.finish_reason not in _CUT_SHORT:
            return "it made no call where one is required, and counts no tokens that would tell why"
        return None
    if request.tool_characters < _FEW_CHARACTERS:
        return None
    if usage.prompt_tokens * _MOST_CHARACTERS_A_TOKEN >= request.characters:
        return None
    return (
        f"it counted {usage.prompt_tokens:,} prompt tokens for a request of {request.characters:,} "
        f"characters, {request.tool_characters:,} of them tools"
    )
