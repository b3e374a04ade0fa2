"""A LangGraph agent under test: lines on standard input are turns, on standard output replies."""

import asyncio
import json
import os
import sys

from langchain.agents import create_agent
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph.checkpoint.memory import InMemorySaver

MODEL = os.environ.get("AGENT_MODEL", "gpt-4.1-mini")


async def main() -> None:
    """Take the turns of one conversation."""
    crm = {
        "transport": "streamable_http",
        "url": os.environ["MCP_URL"],
        "headers": {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"},
    }
    tools = await MultiServerMCPClient({"crm": crm}).get_tools()
    agent = None
    for line in sys.stdin:
        turn = json.loads(line)
        agent = agent or create_agent(
            f"openai:{MODEL}", tools, system_prompt=turn["instructions"], checkpointer=InMemorySaver()
        )
        with get_usage_metadata_callback() as used:
            state = await agent.ainvoke(
                {"messages": [{"role": "user", "content": turn["utterance"]}]},
                {"configurable": {"thread_id": turn["session"]}},
            )
        counts = used.usage_metadata.values()
        usage = {
            "prompt_tokens": sum(count["input_tokens"] for count in counts),
            "completion_tokens": sum(count["output_tokens"] for count in counts),
        }
        print(json.dumps({"reply": state["messages"][-1].text, "usage": usage}))


asyncio.run(main())
