"""An OpenAI Agents SDK agent under test: lines on standard input are turns, on standard output replies."""

import asyncio
import json
import os
import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner, SQLiteSession, set_tracing_disabled
from agents.mcp import MCPServerStreamableHttp
from openai import AsyncOpenAI

MODEL = os.environ.get("AGENT_MODEL", "gpt-4.1-mini")
set_tracing_disabled(True)


async def main() -> None:
    """Take the turns of one conversation."""
    address = {
        "url": os.environ["MCP_URL"],
        "headers": {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"},
    }
    model = OpenAIChatCompletionsModel(MODEL, AsyncOpenAI())
    async with MCPServerStreamableHttp(address, cache_tools_list=True) as crm:
        for line in sys.stdin:
            turn = json.loads(line)
            if turn["turn"] == 1:
                agent = Agent("CRM", instructions=turn["instructions"], model=model, mcp_servers=[crm])
                memory = SQLiteSession(turn["session"])
            result = await Runner.run(agent, turn["utterance"], session=memory)
            used = result.context_wrapper.usage
            usage = {"prompt_tokens": used.input_tokens, "completion_tokens": used.output_tokens}
            print(json.dumps({"reply": str(result.final_output), "usage": usage}))


asyncio.run(main())
