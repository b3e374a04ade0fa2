"""A pydantic-ai agent under test: lines on standard input are turns, on standard output replies."""

import asyncio
import json
import os
import sys

from fastmcp.client.transports import StreamableHttpTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

MODEL = os.environ.get("AGENT_MODEL", "gpt-4.1-mini")


async def main() -> None:
    """Take the turns of one conversation."""
    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    async with MCPToolset(StreamableHttpTransport(os.environ["MCP_URL"], headers=headers)) as crm:
        history = []
        for line in sys.stdin:
            turn = json.loads(line)
            agent = Agent(f"openai-chat:{MODEL}", instructions=turn["instructions"], toolsets=[crm])
            result = await agent.run(turn["utterance"], message_history=history)
            history = result.all_messages()
            used = result.usage
            usage = {"prompt_tokens": used.input_tokens, "completion_tokens": used.output_tokens}
            print(json.dumps({"reply": result.output, "usage": usage}))


asyncio.run(main())
