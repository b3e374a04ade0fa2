from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest

from crm_assets.errors import ConfigError
from crm_assets.llm import (
    Budget,
    BudgetExhausted,
    Caller,
    ChatReply,
    FunctionCall,
    MalformedReply,
    ModelClient,
    ModelError,
    ModelSpec,
    ProviderLimits,
    RetryPolicy,
    Usage,
)
from tests.llm.asking import ALICE, TOOLS, UNPRICED, ask, entries, is_fine, kinds, spec_of, with_client
from tests.llm.scripted_server import (
    Faults,
    Recorded,
    Scripted,
    ScriptedServer,
    broken,
    calls,
    hang,
    rate_limited,
    refused,
    reset,
    text,
    truncated,
)
from tests.waiting import HANG_SECONDS

# What litellm says of odd replies and of itself; outside of tests `import_litellm` keeps it quiet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
    pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier"),
]

PASSING = {
    "rate_limited": rate_limited(),
    "server_error": refused(500),
    "connection": reset(),
    "unreadable": truncated(),
}

PATIENT = RetryPolicy(attempts=100, malformed_attempts=20, base_seconds=0.01)
"""Gets an answer in the end, however often a busy machine makes a call time out that did not hang."""


def assert_timed_out_then_fine(attempts: list[str | None]) -> None:
    *failed, last = attempts
    assert (set(failed), last) == ({"timeout"}, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_a_reply_comes_with_its_calls_tokens_and_cost(path: Path):
    with ScriptedServer(calls(("create_client", '{"name": "Ada"}'))) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server), tools=TOOLS)), path)
    assert answer.reply.tool_calls == (FunctionCall("call_0", "create_client", '{"name": "Ada"}'),)
    assert (answer.reply.content, answer.reply.finish_reason) == (None, "tool_calls")
    assert answer.reply.usage == answer.spending.usage == Usage(10, 5)
    # litellm's price of gpt-4.1-mini: $0.40 and $1.60 a million
    assert answer.reply.cost_usd == answer.spending.cost_usd == pytest.approx(10 * 0.4e-6 + 5 * 1.6e-6)
    (entry,) = entries(path)
    assert entry.chat_reply == answer.reply
    assert (entry.session, entry.role, entry.model) == ("dev/alice#0", "student", "openai/gpt-4.1-mini")
    assert (entry.attempt, entry.ordinal, entry.error) == (1, 1, None)


def test_a_request_is_sent_as_it_was_asked(path: Path):
    with ScriptedServer(text()) as server:
        spec = spec_of(server, temperature=0.3, max_output_tokens=77)
        with_client(lambda client: client.complete(ALICE, ask(spec, tools=TOOLS, tool_choice="required")))
        with_client(lambda client: client.complete(ALICE, ask(spec, json_object=True)))
    with_tools, with_json = (request.body for request in server.requests)
    assert with_tools["model"] == "gpt-4.1-mini"
    assert with_tools["messages"][1] == {"role": "user", "content": "hello"}
    assert with_tools["tools"] == [tool.document for tool in TOOLS]
    assert (with_tools["tool_choice"], with_tools["parallel_tool_calls"]) == ("required", False)
    assert (with_tools["temperature"], with_tools["max_tokens"]) == (0.3, 77)
    assert "tools" not in with_json
    assert with_json["response_format"] == {"type": "json_object"}
    assert server.requests[0].headers["Authorization"] == "Bearer sk-canary-openai-4711"


def test_the_tools_of_a_request_are_left_alone():
    before = orjson.dumps([tool.document for tool in TOOLS])
    with ScriptedServer(refused(400)) as server:
        spec = spec_of(server, provider="gemini", model="gemini-2.5-flash")
        with pytest.raises(ModelError):
            with_client(
                lambda client: client.complete(ALICE, ask(spec, tools=TOOLS)),
                environment={"GEMINI_API_KEY": "AIzaCanaryCanary"},
            )
    assert "functionDeclarations" in orjson.dumps(server.requests[0].body).decode().replace("_d", "D")
    assert orjson.dumps([tool.document for tool in TOOLS]) == before


def test_a_parameter_that_the_model_does_not_take_is_left_out():
    with ScriptedServer(text()) as server:
        spec = spec_of(server, model="gpt-5-mini", temperature=0.2)
        with_client(lambda client: client.complete(ALICE, ask(spec)))
    assert "temperature" not in server.requests[0].body


@pytest.mark.parametrize("kind", PASSING)
def test_what_may_pass_is_tried_again_and_recorded(path: Path, kind: str):
    with ScriptedServer([PASSING[kind], text()]) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert answer.reply.content == "fine"
    assert (answer.spending.calls, answer.spending.failed_calls) == (2, 1)
    assert kinds(path) == [kind, None]
    assert [entry.attempt for entry in entries(path)] == [1, 2]
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [408, 409, 502, 503, 529])
def test_a_server_in_trouble_is_asked_again(path: Path, status: int):
    with ScriptedServer([refused(status), text()]) as server:
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert kinds(path) == ["server_error", None]


@pytest.mark.parametrize(
    ("body", "kind"), [(b'{"candidates": [', "unreadable"), (b'{"candidates": "none"}', "malformed")]
)
def test_other_providers_bodies_are_asked_for_again_too(path: Path, body: bytes, kind: str):
    with ScriptedServer(Scripted(body)) as server, pytest.raises(ModelError):
        spec = spec_of(server, provider="gemini", model="gemini-2.5-flash")
        with_client(
            lambda client: client.complete(ALICE, ask(spec)),
            path,
            environment={"GEMINI_API_KEY": "AIzaCanaryCanary"},
            retries=RetryPolicy(attempts=2, malformed_attempts=2, base_seconds=0.001),
        )
    assert kinds(path) == [kind, kind]


def test_nobody_waits_for_hours_because_a_provider_says_so(path: Path):
    with ScriptedServer([rate_limited(retry_after="7200"), text()]) as server:
        policy = RetryPolicy(base_seconds=0.001, longest_seconds=0.05)
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path, retries=policy)
    assert kinds(path) == ["rate_limited", None]


def test_a_body_that_breaks_off_is_asked_for_again(path: Path):
    with ScriptedServer([Scripted(text("x" * 500).body, cut=80), text()]) as server:
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert kinds(path) == ["connection", None]


def test_a_server_that_hangs_holds_nobody_up(path: Path):
    with ScriptedServer([hang(), text()]) as server:
        spec = spec_of(server, timeout_seconds=0.5)
        with_client(lambda client: client.complete(ALICE, ask(spec)), path, retries=PATIENT)
    assert_timed_out_then_fine(kinds(path))


def test_a_server_that_drips_holds_nobody_up(path: Path):
    async def twice(client: ModelClient) -> None:
        await client.complete(ALICE, ask(spec_of(server), "first"))
        await client.complete(ALICE, ask(spec_of(server, timeout_seconds=0.3), "second"))

    with ScriptedServer([text(), Scripted(drip=True), text()]) as server:
        with_client(twice, path, retries=PATIENT)
    first, *others = kinds(path)
    assert first is None
    assert_timed_out_then_fine(others)


def test_a_call_is_given_up_after_eight_attempts(path: Path):
    with (
        ScriptedServer(refused(503, "the disk is on fire")) as server,
        pytest.raises(ModelError, match=r"gave no reply in 8 attempts.*the disk is on fire") as raised,
    ):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert not isinstance(raised.value, MalformedReply)
    assert len(server.requests) == len(entries(path)) == 8


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_is_refused_is_not_asked_again(path: Path, status: int):
    with (
        ScriptedServer(refused(status, "no such thing")) as server,
        pytest.raises(ModelError, match="refused the request: no such thing"),
    ):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert len(server.requests) == 1
    assert kinds(path) == ["rejected"]


def test_too_long_a_request_is_called_so(path: Path):
    answer = refused(400, "maximum context length is 8192 tokens", code="context_length_exceeded")
    with ScriptedServer(answer) as server, pytest.raises(ModelError, match="too long for openai"):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert kinds(path) == ["context_window"]


@pytest.mark.parametrize(
    "answer",
    [
        refused(401, "Incorrect API key"),
        refused(403, "not your model"),
        refused(429, "quota", code="insufficient_quota"),
    ],
    ids=["401", "403", "quota"],
)
def test_who_is_turned_away_does_not_knock_again(path: Path, answer: Scripted):
    async def many(client: ModelClient) -> list[BaseException | object]:
        spec = spec_of(server)
        first = await asyncio.gather(client.complete(ALICE, ask(spec)), return_exceptions=True)
        rest = [client.complete(ALICE, ask(spec, str(n))) for n in range(20)]
        return [*first, *await asyncio.gather(*rest, return_exceptions=True)]

    with ScriptedServer(answer) as server:
        outcomes = with_client(many, path)
    assert len(server.requests) == len(entries(path)) == 1
    assert kinds(path) == ["authentication"]
    for outcome in outcomes:
        assert isinstance(outcome, ConfigError)
        assert "OPENAI_API_KEY" in str(outcome)


def test_everyone_waits_as_long_as_the_provider_asks(path: Path):
    async def together(client: ModelClient) -> None:
        first = asyncio.create_task(client.complete(ALICE, ask(spec_of(server), "limited")))
        while not client.ledger.total().failed_calls:
            await asyncio.sleep(0.005)
        await client.complete(ALICE, ask(spec_of(server), "another"))
        await first

    with ScriptedServer([rate_limited(retry_after_ms="700"), text()]) as server:
        with_client(together, path)
    refused_, *later = (request.at for request in server.requests)
    assert all(at - refused_ >= 0.7 for at in later)
    assert kinds(path) == ["rate_limited", None, None]


@pytest.mark.parametrize(
    "reply",
    [
        broken([]),
        broken({"id": "x"}),
        broken({"choices": []}),
        broken({"choices": "none"}),
        broken({"choices": [{"message": None}]}),
        text(["a list"]),
        text(5),
        text({"an": "object"}),
        broken({"choices": [{"message": {"tool_calls": ["client_search"]}}]}),
    ],
)
def test_a_reply_of_the_wrong_shape_is_asked_for_again(path: Path, reply: Scripted):
    with ScriptedServer([reply, text()]) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert answer.reply.content == "fine"
    assert kinds(path) == ["malformed", None]


def test_a_reply_without_any_shape_ends_in_a_malformed_reply(path: Path):
    with (
        ScriptedServer(broken({"choices": []})) as server,
        pytest.raises(MalformedReply, match="5 attempts") as raised,
    ):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert raised.value.reply is None
    assert len(server.requests) == 5


def test_a_reply_of_the_wrong_form_is_asked_for_again_and_paid(path: Path):
    with ScriptedServer([text("nonsense"), text(None), text("fine")]) as server:
        answer = with_client(
            lambda client: client.complete(ALICE, ask(spec_of(server)), check=is_fine), path
        )
    assert answer.reply.content == "fine"
    assert (answer.spending.calls, answer.spending.failed_calls) == (3, 2)
    assert answer.spending.usage == Usage(30, 15)
    first, second, third = entries(path)
    assert first.error is not None and first.error.message == "said 'nonsense'"
    assert first.reply is not None and first.reply.content == "nonsense"
    assert second.error is not None and third.error is None
    assert answer.spending.cost_usd == pytest.approx(sum(e.cost_usd or 0 for e in entries(path)))


def test_the_last_reply_of_the_wrong_form_is_handed_on(path: Path):
    script = [text("one"), text("two"), text("three"), text("four"), text("five"), text("fine")]
    with ScriptedServer(script) as server, pytest.raises(MalformedReply, match="said 'five'") as raised:
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server)), check=is_fine), path)
    assert raised.value.reply is not None
    assert raised.value.reply.content == "five"
    assert raised.value.spending is not None
    assert raised.value.spending.usage == Usage(50, 25)
    assert len(server.requests) == 5


def test_text_that_no_database_takes_is_made_fit():
    body = b'{"choices": [{"finish_reason": "stop", "message": {"content": "a\\ud800\\u0000b"}}]}'
    with ScriptedServer(Scripted(body)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))))
    assert answer.reply.content == "a\ufffd\ufffdb"


def test_with_faults_in_a_third_of_the_calls_none_is_lost(path: Path):
    faults = [*PASSING.values(), rate_limited(retry_after_ms="20"), text("nonsense"), text(None)]
    faults += [broken([]), text([1]), Scripted(text("x" * 99).body, cut=20)]
    in_a_hurry = {f"question {number}" for number in range(0, 150, 50)}

    def script(request: Recorded) -> Scripted:
        asked = [other.prompt for other in server.requests]
        return hang() if request.prompt in in_a_hurry and asked.count(request.prompt) == 1 else text()

    async def many(client: ModelClient) -> list[str | None]:
        async def one(number: int) -> str | None:
            caller = Caller(f"s{number % 20}", "teacher" if number % 2 else "student")
            question = f"question {number}"
            timeout = 0.5 if question in in_a_hurry else HANG_SECONDS
            spec = spec_of(server, timeout_seconds=timeout)
            answer = await client.complete(caller, ask(spec, question), check=is_fine)
            attempts[question] = answer.spending.calls
            return answer.reply.content

        replies = await asyncio.gather(*(one(number) for number in range(150)))
        total = client.ledger.total()
        assert (total.calls, total.failed_calls) == (attempts.total(), attempts.total() - 150)
        return replies

    attempts: Counter[str] = Counter()
    with ScriptedServer(script, faults=Faults(0.3, faults, seed=7)) as server:
        replies = with_client(many, path, retries=PATIENT)
    assert replies == ["fine"] * 150
    assert server.faulty > 40
    recorded = entries(path)
    assert len(recorded) == attempts.total()
    assert sum(entry.error is None for entry in recorded) == 150
    sent = Counter(request.prompt for request in server.requests)
    for question, calls_made in attempts.items():
        if question in in_a_hurry:  # a busy machine can be late by itself, before the server hears of it
            assert 2 <= sent[question] <= calls_made
        else:
            assert sent[question] == calls_made


def test_a_cancelled_call_leaves_the_ledger_whole(path: Path):
    async def interrupted(client: ModelClient) -> None:
        await client.complete(ALICE, ask(spec_of(server), "before"))
        task = asyncio.create_task(client.complete(ALICE, ask(spec_of(server), "during")))
        while len(server.requests) < 2:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.spent(ALICE.session)["student"].calls == 2

    with ScriptedServer([text(), hang()]) as server:
        with_client(interrupted, path)
    assert kinds(path) == [None, "cancelled"]
    assert (entries(path)[1].usage, entries(path)[1].cost_usd) == (None, None)


def test_a_budget_in_tokens_stops_the_run(path: Path):
    async def until_spent(client: ModelClient) -> int:
        for number in range(100):
            try:
                await client.complete(ALICE, ask(spec_of(server), str(number)))
            except BudgetExhausted:
                return number
        return 100

    with ScriptedServer(text()) as server:
        assert with_client(until_spent, path, budget=Budget(tokens=45)) == 3
        assert (
            with_client(until_spent, path, budget=Budget(tokens=45)) == 3
        )  # what it was told it still knows
        assert len(server.requests) == 3
        assert with_client(until_spent, path, budget=Budget(tokens=59)) == 3  # earlier starts count
        assert with_client(until_spent, path, budget=Budget(tokens=60)) == 4


def test_a_budget_in_dollars_stops_the_run():
    async def until_spent(client: ModelClient) -> int:
        for number in range(100):
            try:
                await client.complete(ALICE, ask(spec_of(server), str(number)))
            except BudgetExhausted:
                return number
        return 100

    with ScriptedServer(text()) as server:  # $0.000012 a call
        assert with_client(until_spent, budget=Budget(usd=0.00003)) == 2


@pytest.mark.parametrize("model", ["my-own-model", "gpt-9"])
def test_a_budget_in_dollars_needs_a_price(model: str):
    async def ask_it(client: ModelClient) -> None:
        with pytest.raises(ConfigError, match="usd_per_million_prompt_tokens"):
            client.require([spec_of(server, model=model, **UNPRICED)])
        with pytest.raises(ConfigError, match="usd_per_million_prompt_tokens"):
            await client.complete(ALICE, ask(spec_of(server, model=model, **UNPRICED)))
        own = spec_of(
            server, model=model, usd_per_million_prompt_tokens=2, usd_per_million_completion_tokens=10
        )
        client.require([own])
        answer = await client.complete(ALICE, ask(own))
        assert answer.reply.cost_usd == pytest.approx(10 * 2e-6 + 5 * 10e-6)

    with ScriptedServer(text()) as server:
        with_client(ask_it, budget=Budget(usd=1))
        assert len(server.requests) == 1


def test_without_a_price_the_cost_is_unknown_and_not_nothing():
    with ScriptedServer(text()) as server:
        answer = with_client(
            lambda client: client.complete(ALICE, ask(spec_of(server, model="gpt-9", **UNPRICED)))
        )
    assert answer.spending.cost_usd is None


def test_cached_tokens_cost_less():
    with ScriptedServer(text(prompt=1000, completion=10, cached=400, reasoning=3)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))))
    assert answer.reply.usage == Usage(1000, 10, 400, 3)
    assert answer.reply.cost_usd == pytest.approx(600 * 0.4e-6 + 400 * 0.1e-6 + 10 * 1.6e-6)


def test_a_missing_key_is_named_before_anything_is_sent():
    spec = ModelSpec(provider="openai", model="gpt-4.1-mini", api_key_env="MY_KEY")

    async def without(client: ModelClient) -> None:
        with pytest.raises(ConfigError, match="MY_KEY"):
            client.require([spec])
        with pytest.raises(ConfigError, match="MY_KEY"):
            await client.complete(ALICE, ask(spec))

    with_client(without, environment={})


def test_a_server_of_ones_own_needs_no_key():
    with ScriptedServer(text()) as server:
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), environment={})
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
            spec = ModelSpec(provider="openai", model="gpt-4.1-mini")
            with_client(
                lambda client, spec=spec: client.complete(ALICE, ask(spec)), environment={name: server.url}
            )
    assert len(server.requests) == 3


def test_no_more_calls_at_a_time_than_allowed():
    async def many(client: ModelClient) -> None:
        await asyncio.gather(*(client.complete(ALICE, ask(spec_of(server), str(n))) for n in range(30)))

    with ScriptedServer(text(), latency_seconds=0.05) as server:
        with_client(many, limits={"openai": ProviderLimits(max_connections=7)})
    assert server.at_once == 7


def test_a_latency_ends_with_the_answer_and_not_with_the_work_on_it(path: Path):
    work_seconds = 0.3

    def check(reply: ChatReply) -> str | None:
        time.sleep(work_seconds)
        return None

    async def timed(client: ModelClient) -> float:
        started = time.perf_counter()
        await client.complete(ALICE, ask(spec_of(server)), check=check)
        return time.perf_counter() - started

    with ScriptedServer(text()) as server:
        seconds = with_client(timed, path)
    (entry,) = entries(path)
    assert 0 < entry.latency_seconds <= seconds - work_seconds


def test_requests_a_minute_are_kept_to():
    async def many(client: ModelClient) -> float:
        await client.complete(ALICE, ask(spec_of(server), "warm up"))
        started = time.perf_counter()
        await asyncio.gather(*(client.complete(ALICE, ask(spec_of(server), str(n))) for n in range(7)))
        return time.perf_counter() - started

    with ScriptedServer(text()) as server:
        # 4 a second, and a second's worth at once: at least 3 of the 7 have to wait for their quarter of it
        assert with_client(many, limits={"openai": ProviderLimits(requests_per_minute=240)}) > 0.7
    assert len(server.requests) == 8


def test_what_was_answered_in_an_earlier_start_is_not_asked_again(path: Path):
    def session(stops_there: bool):
        async def work(client: ModelClient) -> list[str | None]:
            replies = []
            for text_ in ("one", "two", "two"):
                answer = await client.complete(ALICE, ask(spec_of(server), text_))
                replies.append(answer.reply.content)
                spending.append(answer.spending)
            if stops_there:
                return replies
            replies.append((await client.complete(ALICE, ask(spec_of(server), "three"))).reply.content)
            return replies

        return work

    spending: list[object] = []
    with ScriptedServer([text("1"), refused(500), text("2"), text("2 again"), text("3")]) as server:
        assert with_client(session(True), path) == ["1", "2", "2 again"]
        first = list(spending)
        spending.clear()
        assert with_client(session(False), path) == ["1", "2", "2 again", "3"]
    assert spending == first  # retries included, as in an uninterrupted run
    assert len(server.requests) == 5
    assert [(entry.ordinal, entry.attempt) for entry in entries(path)] == [
        (1, 1),
        (1, 1),
        (1, 2),
        (2, 1),
        (1, 1),
    ]


def test_what_failed_in_an_earlier_start_is_asked_again(path: Path):
    with ScriptedServer([*[refused(500)] * 9, text()]) as server:
        with pytest.raises(ModelError):
            with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert answer.spending.calls == 10
    assert [entry.attempt for entry in entries(path)] == list(range(1, 11))
