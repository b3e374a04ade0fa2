"""Tries an agent of the user's own on a few conversations, without making a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from crm_assets.atlas.config import AgentConfig
from crm_assets.atlas.working_agents import own_agents
from crm_assets.conversations import Conversation
from crm_assets.crm import SandboxPool
from crm_assets.harness import ConversationRunner, GroundTruthStore
from crm_assets.records import ConversationResult

__all__ = ["complaints", "try_agent"]

_SHOWN_OUTPUT = 1500


class _Hints(NamedTuple):
    """How agents of a type do what they may have missed."""

    call: str
    reply: str
    usage: str
    close: str = ""


_HINTS = {
    "python": _Hints(
        call="crm.call(name, arguments) calls one",
        reply="turn() returns the reply",
        usage="crm.report_usage(…) shows them",
        close="; end them in close()",
    ),
    "mcp": _Hints(
        call="they are on the MCP server at MCP_URL, which takes MCP_TOKEN as its bearer token",
        reply='a line {"reply": …} on standard output is the reply',
        usage='{"reply": …, "usage": {"prompt_tokens": …}} shows them',
        close="; end them when standard input ends",
    ),
    "http": _Hints(
        call="POST {name, arguments} to the turn's endpoint with its token",
        reply='{"reply": …} answers a turn',
        usage='{"reply": …, "usage": {"prompt_tokens": …}} shows them',
    ),
}


def try_agent(
    agent: AgentConfig,
    conversations: Sequence[Conversation],
    *,
    folder: Path,
    environment: Mapping[str, str],
    sandbox: str,
) -> list[ConversationResult]:
    """Let an agent of the user's own take conversations, one after the other.

    Args:
        agent: the configuration.
        conversations: what it is tried on.
        folder: the project's, where its module is looked for first, or its program works.
        environment: of the agent's processes.
        sandbox: conninfo of the sandbox database.

    Raises:
        ConfigError: the agent cannot be started.
        InfrastructureError: the database failed.
    """

    async def run() -> list[ConversationResult]:
        agents, host = own_agents(agent, folder, environment)
        with (
            SandboxPool(sandbox) as pool,
            SandboxPool(sandbox) as alone,
            closing(GroundTruthStore(sandbox, alone)) as store,
        ):
            runner = ConversationRunner(pool)
            truths = store.get_many(conversations)
            try:
                return [
                    await runner.run(conversation, truth, agent=agents.of(conversation.conversation_id))
                    for conversation, truth in zip(conversations, truths, strict=True)
                ]
            finally:
                await host.aclose()

    return asyncio.run(run())


def complaints(result: ConversationResult, agent: AgentConfig) -> Iterator[str]:
    """Yield what is wrong with how an agent took a conversation, a sentence each; not what it got wrong."""
    notes, hints = result.metadata, _HINTS[agent.type]
    if failure := notes.get("agent_failure"):
        yield f"The agent failed: {failure}."
    if output := str(notes.get("agent_output", "")).strip():
        yield f"It wrote to standard output: {output[-_SHOWN_OUTPUT:]}"
    if left := notes.get("agent_left_running"):
        yield f"It left {left} process{'es' if left != 1 else ''} running{hints.close}."
    turns = result.per_turn_results
    if turns and not any(turn.made_calls for turn in turns):
        yield f"It called no tool: {hints.call}."
    if any(not call.made for turn in turns for call in turn.calls or ()):
        yield "It asked for more calls than a turn may make: see agent.calls_per_turn (--calls many)."
    if unknown := sorted({str(t.tool_name) for t in turns if t.verification == "unknown_tool"}):
        yield f"There is no tool {', '.join(unknown)}: `crm-assets tools` lists them."
    if turns and not any(turn.agent_response_text for turn in turns):
        yield f"It never replied to the user: {hints.reply}."
    if "agent_reported" not in notes:
        yield f"It reports no tokens: {hints.usage} in results, as its own word."
