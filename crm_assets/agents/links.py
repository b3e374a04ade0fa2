"""What the harness needs of an agent of any type: a host for the run, a link for each conversation."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from crm_assets.agents.messages import Call, Failed, Reply, ToAgent

__all__ = ["MESSAGE_BYTES", "AgentBroken", "AgentHost", "AgentLink", "LinkEnd"]

MESSAGE_BYTES = 1 << 20
"""Maximum size of anything that an agent sends: a call, a reply."""


class AgentBroken(Exception):
    """Raised when an agent cannot go on; says why in a clause."""


class LinkEnd(NamedTuple):
    """What was found at the end of a conversation."""

    left_running: int = 0
    """Processes that the agent had left running; they are ended."""
    failure: str | None = None
    """What the agent did after its last turn and may not; a clause."""


class AgentLink(Protocol):
    """An agent in one conversation."""

    @property
    def output(self) -> str:
        """Return the beginning of what the agent wrote to standard output and error."""

    def send(self, message: ToAgent) -> None:
        """Tell the agent what comes next: `Begin` first, then each `Turn`, and what came of its calls."""

    async def receive(self) -> Call | Reply | Failed:
        """Return the agent's next message.

        Raises:
            AgentBroken: it cannot go on.
            ConfigError: it cannot be used at all, in this conversation or any other.
        """

    async def end(self, *, patiently: bool) -> LinkEnd:
        """Leave the conversation, and end all processes that the agent has for it.

        Args:
            patiently: let it close what it has open first.
        """


class AgentHost(Protocol):
    """Makes the links of a run. Belongs to one event loop."""

    async def open(self) -> AgentLink:
        """Return a link for a new conversation.

        Raises:
            ConfigError: the agent cannot be started.
        """

    async def aclose(self) -> None:
        """End all that the host has started."""
