"""Servers as they are: each does one thing that a real one was seen to do."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from crm_assets.errors import ConfigError
from crm_assets.llm import (
    Caller,
    ChatRequest,
    ContextOverflow,
    FunctionCall,
    FunctionTool,
    MalformedReply,
    Message,
    ModelClient,
    ModelError,
    RetryPolicy,
)
from crm_assets.llm.json_replies import COMPLAINT
from crm_assets.llm.json_replies import ask as ask_for
from tests.llm.asking import ALICE, TOOLS, ask, entries, is_fine, kinds, spec_of, with_client
from tests.llm.scripted_server import (
    Recorded,
    Scripted,
    ScriptedServer,
    broken,
    calls,
    hang,
    refused,
    text,
)

JUDGE = Caller("dev/alice#0", "judge")
MANY_TOOLS = tuple(
    FunctionTool(f"tool_{number}", "Does something with a client. " * 8, dict(TOOLS[0].parameters))
    for number in range(12)
)


class Verdict(BaseModel):
    valid: bool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def with_message(message: dict[str, Any], **choice: Any) -> Scripted:
    body = {**text().body, "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    return Scripted(body)


def call_turn(client: ModelClient, server: ScriptedServer, reply_state: Any = None) -> Any:
    """Ask for what follows a tool call."""
    made = FunctionCall("call_1", "create_client", "{}")
    messages = (
        Message("system", "You work."),
        Message("user", "hello"),
        Message("assistant", None, tool_calls=(made,), state=reply_state),
        Message("tool", "{}", tool_call_id="call_1"),
    )
    return client.complete(ALICE, ChatRequest(spec_of(server), messages, TOOLS, tool_choice="none"))


def test_a_turn_after_a_tool_call_has_content():
    def strict(request: Recorded) -> Scripted:
        contents = [message.get("content") for message in request.body["messages"]]
        return text() if all(isinstance(content, str) for content in contents) else refused(500)

    with ScriptedServer(strict) as server:
        assert with_client(lambda client: call_turn(client, server)).reply.content == "fine"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "content",
    [
        '<tool_call>\n{"name": "create_client", "arguments": {"name": "Ada"}}\n</tool_call>',
        '<tool_call>{"name": "create_client", "arguments": {"name": "Ada"}}',
        '{"name": "create_client", "parameters": {"name": "Ada"}}',
        '```json\n{"tool": "create_client", "arguments": {"name": "Ada"}}\n```',
        '{"function": {"name": "create_client", "arguments": "{\\"name\\": \\"Ada\\"}"}}',
        'I think so.</think>[{"name": "create_client", "arguments": {"name": "Ada"}}]',
        '<think>{"name": "create_client", "arguments": {}}?</think>'
        '<tool_call>{"name": "create_client", "arguments": {"name": "Ada"}}</tool_call>',
    ],
)
def test_calls_that_stand_in_the_text_are_calls(content: str, path: Path):
    with ScriptedServer(text(content)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server), tools=TOOLS)), path)
    (call,) = answer.reply.tool_calls
    assert (call.name, orjson.loads(call.arguments)) == ("create_client", {"name": "Ada"})
    (entry,) = entries(path)
    assert entry.chat_reply == answer.reply


@pytest.mark.parametrize(
    "content",
    ['{"name": "Ada"}', '{"name": "no_such_tool", "arguments": {}}', "I would create_client with {}."],
)
def test_other_text_stays_text(content: str):
    with ScriptedServer(text(content)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server), tools=TOOLS)))
    assert (answer.reply.content, answer.reply.tool_calls) == (content, ())


def test_a_reply_to_the_user_that_is_json_is_no_call():
    content = '{"name": "create_client", "arguments": {}}'
    with ScriptedServer(text(content)) as server:
        request = ask(spec_of(server), tools=TOOLS, tool_choice="none")
        answer = with_client(lambda client: client.complete(ALICE, request))
    assert answer.reply.content == content


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (orjson.dumps('{"name": "Ada"}').decode(), '{"name": "Ada"}'),  # encoded twice
        ({"name": "Ada"}, '{"name":"Ada"}'),  # not encoded at all
        ('"just a text"', '"just a text"'),
        ('{"name": "Ada"', '{"name": "Ada"'),
    ],
)
def test_arguments_are_read_however_often_they_were_encoded(arguments: Any, read: str):
    with ScriptedServer(calls(("create_client", arguments))) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server), tools=TOOLS)))
    assert answer.reply.tool_calls[0].arguments == read


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("First this.</think>\n\nfine", "fine"),
        ("<think>\nFirst this.\n</think>\n\nfine", "fine"),
        ("<thinking>a</thinking>fine", "fine"),
        ("fine", "fine"),
        ("Use <think> and </think> tags.", "Use <think> and </think> tags."),
    ],
)
def test_thoughts_are_no_answer(content: str, left: str):
    with ScriptedServer(text(content)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))))
    assert answer.reply.content == left


def test_a_draft_in_the_thoughts_is_no_verdict():
    content = 'A draft: {"valid": false} … no.\n</think>\n\n{"valid": true}'
    with ScriptedServer(text(content)) as server:
        said, _ = with_client(lambda client: ask_for(client, JUDGE, ask(spec_of(server)), Verdict))
    assert said.valid
    assert len(server.requests) == 1


def test_a_server_that_ignores_tools_is_noticed_at_the_first_call():
    async def twice(client: ModelClient) -> str:
        spec = spec_of(server)
        first = await client.complete(ALICE, ask(spec, tools=MANY_TOOLS))
        assert not first.reply.tool_calls
        with pytest.raises(ConfigError) as raised:
            await client.complete(ALICE, ask(spec, "again", tools=MANY_TOOLS))
        await client.complete(ALICE, ask(spec, "without tools"))  # which it can be asked
        return str(raised.value)

    with ScriptedServer(text("Hello!", prompt=60)) as server:
        said = with_client(twice)
    assert "ignores tools: it counted 60 prompt tokens" in said
    assert "agent.tool_mode to text" in said
    assert len(server.requests) == 2


def test_a_required_call_that_does_not_come_shows_it_where_no_tokens_are_counted():
    async def twice(client: ModelClient) -> None:
        request = ask(spec_of(server), tools=TOOLS, tool_choice="required")
        assert not (await client.complete(ALICE, request)).reply.tool_calls
        with pytest.raises(ConfigError, match="ignores tools: it made no call where one is required"):
            await client.complete(ALICE, request)

    uncounted = {name: value for name, value in text("Hello!").body.items() if name != "usage"}
    with ScriptedServer(Scripted(uncounted)) as server:
        with_client(twice)
    assert len(server.requests) == 1


def test_a_model_that_chooses_not_to_call_is_not_taken_for_one():
    async def twice(client: ModelClient) -> None:
        for number in range(2):
            await client.complete(ALICE, ask(spec_of(server), str(number), tools=MANY_TOOLS))

    with ScriptedServer(text("Hello!", prompt=1500)) as server:
        with_client(twice)


def test_a_slow_server_of_ones_own_gets_more_time(path: Path):
    seen: list[str | None] = []

    async def once(client: ModelClient) -> None:
        asking = asyncio.create_task(client.complete(ALICE, ask(spec)))
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        seen.append(client.activity.trouble)
        await asking
        assert client.activity.trouble is None

    with ScriptedServer([text(delay_seconds=0.7), text(delay_seconds=0.7)]) as server:
        spec = spec_of(server, timeout_seconds=0.5)
        with_client(once, path)
    assert kinds(path) == ["timeout", None]
    assert seen == ["openai/gpt-4.1-mini: no answer in 0.5 s; it gets 1 s from here on"]


@pytest.mark.parametrize(
    "error",
    [
        {"message": "overloaded", "code": 503},
        {"message": "try later"},
        {"message": "try later", "code": "503"},
    ],
)
def test_an_error_in_a_good_response_is_retried_with_waits(path: Path, error: dict[str, Any]):
    with ScriptedServer([*[broken({"error": error})] * 6, text()]) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert answer.reply.content == "fine"
    assert kinds(path) == [*["server_error"] * 6, None]


def test_an_error_in_a_choice_is_one_too(path: Path):
    bad = broken({"choices": [{"error": {"message": "upstream", "code": 502}, "finish_reason": "error"}]})
    with ScriptedServer([bad, text()]) as server:
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert kinds(path) == ["server_error", None]


def test_googles_retry_delay_is_kept():
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.6s"}]
    body = [
        {"error": {"message": "quota", "status": "RESOURCE_EXHAUSTED", "code": 429, "details": details}}
    ]
    with ScriptedServer([Scripted(body, 429), text()]) as server:
        started = time.perf_counter()
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))))
    assert time.perf_counter() - started > 0.5


@pytest.mark.parametrize(
    "answer",
    [
        refused(402, "Insufficient credits"),
        refused(400, "Your credit balance is too low to access the API."),
        refused(429, "You exceeded your current quota.", code="insufficient_quota"),
    ],
)
def test_an_empty_account_ends_the_run_at_once(path: Path, answer: Scripted):
    async def twice(client: ModelClient) -> None:
        for number in range(2):
            with pytest.raises(ConfigError, match="check it and its account"):
                await client.complete(ALICE, ask(spec_of(server), str(number)))

    with ScriptedServer(answer) as server:
        with_client(twice, path)
    assert kinds(path) == ["authentication"]


@pytest.mark.parametrize(
    "answer",
    [
        refused(413, "Request too large for model", code="rate_limit_exceeded"),
        refused(413, "Request Entity Too Large"),
        refused(429, "Request too large for gpt-4 on tokens per min (TPM): Limit 10, Requested 12"),
    ],
)
def test_a_request_too_large_is_not_tried_again(path: Path, answer: Scripted):
    with ScriptedServer(answer) as server, pytest.raises(ModelError, match="too large for the account"):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert kinds(path) == ["too_large"]


@pytest.mark.parametrize(
    "answer",
    [
        refused(400, "the request exceeds the available context size", type="exceed_context_size_error"),
        refused(400, "This model's maximum context length is 512 tokens.", code="context_length_exceeded"),
        refused(500, "Requested tokens (900) exceed context window of 512"),
        refused(400, "prompt is too long: 212345 tokens > 200000 maximum"),
    ],
)
def test_too_long_a_request_is_told_from_others(path: Path, answer: Scripted):
    with ScriptedServer(answer) as server, pytest.raises(ContextOverflow):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert kinds(path) == ["context_window"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "no such route"}, "no such route"),
        ({"error": "model not found"}, "model not found"),
        ({"object": "error", "message": "bad input", "code": 400}, "bad input"),
        (b"<html><body>Bad gateway</body></html>", "HTTP status 404"),
        (b"plain words", "plain words"),
    ],
)
def test_errors_are_read_in_whatever_form(body: Any, said: str):
    with ScriptedServer(Scripted(body, 404)) as server, pytest.raises(ModelError, match=said):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))))


OUTAGE = RetryPolicy(attempts=2, base_seconds=0.05, outage_seconds=20.0)


def test_a_server_that_loads_is_waited_for(path: Path):
    loading = Scripted(
        {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503
    )

    async def many(client: ModelClient) -> list[str | None]:
        asked = [client.complete(ALICE, ask(spec_of(server), str(number))) for number in range(6)]
        return [answer.reply.content for answer in await asyncio.gather(*asked)]

    def script(request: Recorded) -> Scripted:
        return loading if time.perf_counter() - started < 1.0 else text()

    with ScriptedServer(script) as server:
        started = time.perf_counter()
        assert with_client(many, path, retries=OUTAGE) == ["fine"] * 6
    # More attempts than a call has, and fewer than all calls together would have made.
    assert 2 < kinds(path).count("server_error") < 16


def test_waits_after_an_outage_begin_anew():
    class Noted(RetryPolicy):
        def delay_seconds(self, failures: int, dice: random.Random) -> float:
            waited_after.append(failures)
            return 0.0

    waited_after: list[int] = []
    loading = refused(503, "Loading model", type="unavailable_error")
    with ScriptedServer([*[loading] * 6, refused(500, "warming up"), text()]) as server:
        policy = Noted(attempts=8, base_seconds=0.001)
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), retries=policy)
    assert waited_after == [1]


def test_a_server_that_is_restarted_costs_no_call(path: Path):
    async def work(client: ModelClient) -> list[str | None]:
        spec = spec_of(first)
        await client.complete(ALICE, ask(spec, "before"))
        first.__exit__(None, None, None)
        asked = asyncio.gather(*(client.complete(ALICE, ask(spec, str(number))) for number in range(8)))
        await asyncio.sleep(0.8)
        assert not asked.done()
        assert "cannot connect to" in str(client.activity.trouble)
        with ScriptedServer([refused(500, "still warming up"), text()], port=first.port):
            return [answer.reply.content for answer in await asked]

    first = ScriptedServer(text())
    first.__enter__()
    assert with_client(work, path, retries=OUTAGE) == ["fine"] * 8
    failed = [entry for entry in entries(path) if entry.error]
    assert failed
    assert {entry.error and entry.error.kind for entry in failed} == {"connection", "server_error"}
    assert len(failed) < 8 + 8  # each call's own first try at most, and one at a time after that


def test_a_server_that_stays_away_ends_calls_in_time(path: Path):
    async def work(client: ModelClient) -> None:
        await client.complete(ALICE, ask(spec_of(server), "before"))
        server.__exit__(None, None, None)
        with pytest.raises(ModelError, match="cannot connect"):
            await client.complete(ALICE, ask(spec_of(server), "after"))

    server = ScriptedServer(text())
    server.__enter__()
    policy = RetryPolicy(attempts=2, base_seconds=0.05, outage_seconds=0.5)
    with_client(work, path, retries=policy)


def test_an_address_where_nothing_ever_listened_is_given_up_soon(path: Path):
    server = ScriptedServer(text())
    with server:
        pass
    with pytest.raises(ModelError, match="cannot connect to http://127"):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert len(entries(path)) == 8
    assert all(entry.cost_usd == 0.0 for entry in entries(path))  # nothing was sent


def formats(server: ScriptedServer) -> list[str | None]:
    return [(request.body.get("response_format") or {}).get("type") for request in server.requests]


@pytest.mark.parametrize(
    ("takes", "status", "asked"),
    [
        ({"json_schema", "json_object", None}, 400, ["json_schema", "json_schema"]),
        ({"json_object", None}, 500, ["json_schema", "json_object", "json_object"]),
        ({None}, 400, ["json_schema", "json_object", None, None]),
    ],
)
def test_the_form_of_json_is_found_out_once(
    takes: set[str | None], status: int, asked: list[str | None], path: Path
):
    def script(request: Recorded) -> Scripted:
        kind = (request.body.get("response_format") or {}).get("type")
        return text('{"valid": true}') if kind in takes else refused(status, "response_format?")

    async def twice(client: ModelClient) -> None:
        for number in range(2):
            said, answer = await ask_for(client, JUDGE, ask(spec_of(server), str(number)), Verdict)
            assert said.valid
            assert answer.reply.sent is not None
            assert answer.reply.sent.response_format == asked[-1]

    with ScriptedServer(script) as server:
        with_client(twice, path)
    assert formats(server) == asked
    assert len(entries(path)) == len(server.requests)
    schema = server.requests[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["valid"]["type"] == "boolean"


def test_a_request_refused_for_another_reason_keeps_the_form(path: Path):
    async def twice(client: ModelClient) -> None:
        with pytest.raises(ModelError, match="no such thing"):
            await ask_for(client, JUDGE, ask(spec_of(server), "bad"), Verdict)
        await ask_for(client, JUDGE, ask(spec_of(server), "good"), Verdict)

    def script(request: Recorded) -> Scripted:
        return refused(400, "no such thing") if request.prompt == "bad" else text('{"valid": true}')

    with ScriptedServer(script) as server:
        with_client(twice, path)
    assert formats(server) == ["json_schema", "json_object", None, "json_schema"]


def test_a_parameter_that_a_server_refuses_is_left_out_from_then_on(path: Path):
    def script(request: Recorded) -> Scripted:
        for name in ("temperature", "max_tokens"):
            if name in request.body:
                return refused(
                    400, f"Unsupported parameter: '{name}'", code="unsupported_parameter", param=name
                )
        return text()

    async def twice(client: ModelClient) -> None:
        for number in range(2):
            spec = spec_of(server, temperature=0.2, max_output_tokens=9)
            answer = await client.complete(ALICE, ask(spec, str(number)))
            assert answer.reply.sent is not None
            assert answer.reply.sent.temperature is None

    with ScriptedServer(script) as server:
        with_client(twice, path)
    assert kinds(path) == ["unsupported", "unsupported", None, None]
    assert server.requests[-1].body["max_completion_tokens"] == 9


def test_a_malformed_json_reply_is_answered_with_what_was_wrong(path: Path):
    with ScriptedServer([text("nonsense"), text('{"valid": true}')]) as server:
        with_client(lambda client: ask_for(client, JUDGE, ask(spec_of(server), "Valid?"), Verdict), path)
    first, second = (request.body["messages"] for request in server.requests)
    assert second[: len(first)] == first
    assert second[-2] == {"role": "assistant", "content": "nonsense"}
    assert second[-1]["content"].startswith(f"{COMPLAINT}The reply holds no JSON object")
    assert [entry.request_sha256 for entry in entries(path)] == [entries(path)[0].request_sha256] * 2


def test_other_replies_are_asked_for_as_before():
    with ScriptedServer([text("nonsense"), text("fine")]) as server:
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server)), check=is_fine))
    assert server.requests[0].text == server.requests[1].text


def test_a_json_reply_that_is_cut_off_says_what_to_raise():
    with (
        ScriptedServer(text('{"valid": tr', finish_reason="length")) as server,
        pytest.raises(MalformedReply, match="max_output_tokens"),
    ):
        spec = spec_of(server, max_output_tokens=4)
        with_client(lambda client: ask_for(client, JUDGE, ask(spec), Verdict))
    assert len(server.requests) == 1


def test_what_a_provider_wants_back_is_given_back(path: Path):
    extra = {"google": {"thought_signature": "abc"}}
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "create_client", "arguments": "{}"},
        "extra_content": extra,
    }
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call],
        "reasoning_content": "I think.",
        "annotations": [],
    }

    async def both(client: ModelClient) -> None:
        answer = await client.complete(ALICE, ask(spec_of(server), tools=TOOLS))
        reply = answer.reply
        assert entries(path)[0].chat_reply == reply
        messages = (
            *ask(spec_of(server)).messages,
            Message("assistant", reply.content, tool_calls=reply.tool_calls, state=reply.state),
            Message("tool", "{}", tool_call_id="c"),
        )
        await client.complete(ALICE, ChatRequest(spec_of(server), messages, TOOLS, tool_choice="none"))

    with ScriptedServer([with_message(message, finish_reason="tool_calls"), text()]) as server:
        with_client(both, path)
    given = server.requests[1].body["messages"][2]
    assert given["reasoning_content"] == "I think."
    assert given["tool_calls"] == [call]
    assert "annotations" not in given


@pytest.mark.parametrize("identifier", ["functions.call:0", "", None])
def test_call_ids_are_unique_in_a_conversation(identifier: str | None):
    message = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": identifier, "function": {"name": "create_client", "arguments": "{}"}}] * 2,
    }
    earlier = Message("assistant", None, tool_calls=(FunctionCall("functions.call:0", "a", "{}"),))

    with ScriptedServer(with_message(message)) as server:
        request = ChatRequest(spec_of(server), (Message("user", "x"), earlier), TOOLS)
        answer = with_client(lambda client: client.complete(ALICE, request))
    ids = [call.id for call in answer.reply.tool_calls]
    assert len({*ids, "functions.call:0"}) == 3


def test_the_beginning_of_a_body_stays_the_same():
    history = (Message("system", "You work."), Message("user", "one"))

    async def work(client: ModelClient) -> None:
        spec = spec_of(server)
        await client.complete(ALICE, ChatRequest(spec, history, TOOLS))
        more = (*history, Message("assistant", "1"), Message("user", "two"))
        await client.complete(ALICE, ChatRequest(spec, more, TOOLS, tool_choice="none"))
        await client.complete(Caller("bob", "student"), ask(spec, "other", tools=TOOLS))

    with ScriptedServer(text()) as server:
        with_client(work)
    one, two, other = (request.text for request in server.requests)
    shared = one[: one.index("one") + len("one")]
    assert two.startswith(shared)
    assert other.startswith(shared[: shared.index('{"role":"user"')])
    assert shared.index('"tools"') < shared.index('"messages"')


@pytest.fixture
def plain_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer(text()) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield proxy


def test_a_proxy_of_the_environment_is_used(plain_proxy: ScriptedServer):
    spec = spec_of(plain_proxy, api_base="http://models.example/v1")
    with_client(lambda client: client.complete(ALICE, ask(spec)))
    assert len(plain_proxy.requests) == 1


def test_two_ways_to_one_server_say_the_same(path: Path):
    """Both clients of an `openai` model book the same reply."""
    replies = []
    for way in ("direct", "litellm"):
        with ScriptedServer(calls(("create_client", '{"name": "Ada"}'))) as server:
            spec = spec_of(server, client=way)
            answer = with_client(lambda client, spec=spec: client.complete(ALICE, ask(spec, tools=TOOLS)))
        reply = answer.reply
        replies.append((reply.content, reply.tool_calls, reply.finish_reason, reply.usage, reply.cost_usd))
    assert replies[0] == replies[1]


def test_the_direct_client_never_imports_litellm(path: Path):
    import subprocess
    import sys

    script = (
        "import asyncio, sys\n"
        "from crm_assets.llm import *\n"
        "async def main():\n"
        "    client = ModelClient({'OPENAI_API_KEY': 'k'}, budget=Budget(usd=1))\n"
        "    spec = ModelSpec(provider='openai', model='gpt-4.1-mini', api_base=sys.argv[1],\n"
        "        usd_per_million_prompt_tokens=1, usd_per_million_completion_tokens=1)\n"
        "    offline = ModelSpec(provider='offline', model='student')\n"
        "    listed = ModelSpec(provider='openai', model='gpt-4.1-mini')\n"
        "    client.require([spec, offline, listed])\n"
        "    for each in (spec, offline):\n"
        "        request = ChatRequest(each, (Message('user', 'Hi'),))\n"
        "        await client.complete(Caller('s', 'student'), request)\n"
        "    await client.aclose()\n"
        "asyncio.run(main())\n"
        "print('litellm' in sys.modules, 'openai' in sys.modules, 'httpx' in sys.modules)\n"
    )
    with ScriptedServer(text()) as server:
        done = subprocess.run(
            [sys.executable, "-c", script, server.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout.split() == ["False", "False", "False"], done.stderr


def test_calls_and_retries_under_way_can_be_seen():
    async def work(client: ModelClient) -> None:
        assert client.activity.words == "0 open calls"
        asking = asyncio.gather(*(client.complete(ALICE, ask(spec_of(server), str(n))) for n in range(3)))
        while len(server.requests) < 4:
            await asyncio.sleep(0.01)
        assert client.activity.under_way == 3
        assert client.activity.retries == 1
        assert client.activity.words.startswith("3 open calls, 1 retried; last failure: openai/")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    with ScriptedServer([refused(500, "on fire"), hang()]) as server:
        with_client(work)
