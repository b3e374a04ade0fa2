"""Tries an agent of the user's own on a few conversations, without making a run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from crm_assets.atlas.config import AgentConfig
from crm_assets.atlas.working_agents import own_agents
from crm_assets.conversations import Conversation
from crm_assets.crm import SandboxPool
from crm_assets.harness import ConversationRunner, GroundTruthStore
from crm_assets.records import ConversationResult

__all__ = ["complaints", "try_agent"]

_SHOWN_OUTPUT = 1500


def try_agent(
    agent: AgentConfig,
    conversations: Sequence[Conversation],
    *,
    folder: Path,
    environment: Mapping[str, str],
    sandbox: str,
) -> list[ConversationResult]:
    """Let an agent of type `python` take conversations, one after the other.

    Args:
        agent: the configuration.
        conversations: what it is tried on.
        folder: the project's, where its module is looked for first.
        environment: of the agent's processes.
        sandbox: conninfo of the sandbox database.

    Raises:
        ConfigError: the agent's module cannot be imported, or has no such factory.
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


def complaints(result: ConversationResult) -> Iterator[str]:
    """Yield what is wrong with how an agent took a conversation, a sentence each; not what it got wrong."""
    notes = result.metadata
    if failure := notes.get("agent_failure"):
        yield f"The agent failed: {failure}."
    if output := str(notes.get("agent_output", "")).strip():
        yield f"It wrote to standard output: {output[-_SHOWN_OUTPUT:]}"
    if left := notes.get("agent_left_running"):
        yield f"It left {left} process{'es' if left != 1 else ''} running; end them in close()."
    turns = result.per_turn_results
    if turns and not any(turn.made_calls for turn in turns):
        yield "It called no tool: crm.call(name, arguments) calls one."
    if any(not call.made for turn in turns for call in turn.calls or ()):
        yield "It asked for more calls than a turn may make: see agent.calls_per_turn (--calls many)."
    if unknown := sorted({str(t.tool_name) for t in turns if t.verification == "unknown_tool"}):
        yield f"There is no tool {', '.join(unknown)}: `crm-assets tools` lists them, crm.tools has them."
    if turns and not any(turn.agent_response_text for turn in turns):
        yield "It never replied to the user: turn() returns the reply."
    if "agent_reported" not in notes:
        yield "It reports no tokens: crm.report_usage(…) shows them in results, as its own word."
