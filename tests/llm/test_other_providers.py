"""What providers of other protocols are sent through litellm, and what is read of their replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from crm_assets.llm import Answer, Caller, ChatRequest, FunctionTool, Message, ModelClient, ModelSpec, Usage
from crm_assets.llm.json_replies import ask as ask_for
from tests.llm.asking import ALICE, TOOLS, ask, entries, kinds, spec_of, with_client
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, refused, text

# What litellm says of odd replies and of itself; outside of tests `import_litellm` keeps it quiet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier"),
]

KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-canary",
    "GEMINI_API_KEY": "AIzaCanaryCanary",
    "OPENAI_API_KEY": "sk-x",
}
MARK = {"type": "ephemeral"}
MORE_TOOLS = (
    *TOOLS,
    FunctionTool("quote_prefixes", "Lists prefixes.", {"type": "object", "properties": {}}),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def turn_with_tools(client: ModelClient, spec: ModelSpec) -> Any:
    """A call, and the reply to its outcome; what a provider wants back is given back, as students do."""

    async def work() -> tuple[Answer, Answer]:
        opening = (Message("system", "You work."), Message("user", "Make Ada."))
        made = await client.complete(ALICE, ChatRequest(spec, opening, MORE_TOOLS))
        (call,) = made.reply.tool_calls
        history = (
            *opening,
            Message("assistant", made.reply.content, tool_calls=(call,), state=made.reply.state),
            Message("tool", '{"client_id": "7"}', tool_call_id=call.id),
        )
        said = await client.complete(ALICE, ChatRequest(spec, history, MORE_TOOLS, tool_choice="none"))
        return made, said

    return work()


def anthropic(*content: dict[str, Any], stop: str) -> Scripted:
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 90,
        "output_tokens": 5,
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    return Scripted({**message, "content": content, "stop_reason": stop, "usage": usage})


THINKING = {"type": "thinking", "thinking": "A name is enough.", "signature": "c2lnbmF0dXJl"}
TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "create_client", "input": {"name": "Ada"}}


@pytest.fixture
def claude(path: Path) -> tuple[list[Recorded], Answer, Answer]:
    """The requests of a turn with Anthropic, and its replies."""
    script = [
        anthropic(THINKING, TOOL_USE, stop="tool_use"),
        anthropic({"type": "text", "text": "Made."}, stop="end_turn"),
    ]
    with ScriptedServer(script) as server:
        spec = spec_of(server, provider="anthropic", model="claude-sonnet-4-5", max_output_tokens=500)
        made, said = with_client(lambda client: turn_with_tools(client, spec), path, environment=KEYS)
        return server.requests, made, said


def test_anthropic_gets_its_cache_marks_and_its_cached_tokens_are_counted(
    claude: tuple[list[Recorded], Answer, Answer], path: Path
):
    requests, _, said = claude
    for request in requests:
        *others, last = request.body["tools"]
        assert last["cache_control"] == MARK, "all tools up to the mark are cached"
        assert all("cache_control" not in tool for tool in others)
        assert [block["cache_control"] for block in request.body["system"]] == [MARK]
        assert "cache_control" not in str(request.body["messages"])
    assert said.reply.usage == Usage(100, 5, 90)
    assert [entry.cached_tokens for entry in entries(path)] == [90, 90]
    # the cached tokens at their own price: $0.4, $0.1 and $1.6 a million
    assert said.reply.cost_usd == pytest.approx(10 * 0.4e-6 + 90 * 0.1e-6 + 5 * 1.6e-6)


def test_anthropics_thoughts_go_back_with_their_signature(claude: tuple[list[Recorded], Answer, Answer]):
    requests, made, _ = claude
    assert made.reply.tool_calls[0].arguments == '{"name": "Ada"}'
    given = requests[1].body["messages"][1]
    assert given["role"] == "assistant"
    assert THINKING in given["content"]


def gemini(*parts: dict[str, Any]) -> Scripted:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    content = {"role": "model", "parts": parts}
    return Scripted({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage})


def test_geminis_signature_goes_back_with_its_call():
    call = {"functionCall": {"name": "create_client", "args": {"name": "Ada"}}, "thoughtSignature": "c2ln"}
    with ScriptedServer([gemini(call), gemini({"text": "Made."})]) as server:
        spec = spec_of(server, provider="gemini", model="gemini-2.5-flash")
        with_client(lambda client: turn_with_tools(client, spec), environment=KEYS)
    given = [part for content in server.requests[1].body["contents"] for part in content["parts"]]
    (signed,) = [part for part in given if "function_call" in part or "functionCall" in part]
    assert signed.get("thoughtSignature") == "c2ln"


class Verdict(BaseModel):
    valid: bool


@pytest.mark.parametrize(
    ("takes", "asked"),
    [
        ({"json_object", None}, ["json_object", "json_object"]),
        ({None}, ["json_object", None, None]),
    ],
)
def test_litellms_way_finds_out_once_which_form_of_json_is_taken(
    takes: set[str | None], asked: list[str | None], path: Path
):
    def form(request: Recorded) -> str | None:
        wanted = request.body.get("response_format") or {}
        return wanted.get("type")

    async def twice(client: ModelClient) -> None:
        for number in range(2):
            said, answer = await ask_for(client, judge, ask(spec, str(number)), Verdict)
            assert said.valid
            assert answer.reply.sent is not None
            assert answer.reply.sent.response_format == asked[-1]

    judge = Caller("dev/alice#0", "judge")

    def script(request: Recorded) -> Scripted:
        return text('{"valid": true}') if form(request) in takes else refused(400, "response_format?")

    with ScriptedServer(script) as server:
        spec = spec_of(server, client="litellm")
        with_client(twice, path, environment=KEYS)
    assert [form(request) for request in server.requests] == asked
    assert kinds(path) == ["unsupported"] * (len(asked) - 2) + [None, None]
