"""The books of calls: what is unknown is not 0, and what does not add up is not bent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import ConfigError
from crm_assets.llm import (
    Budget,
    BudgetExhausted,
    MalformedReply,
    ModelClient,
    ModelError,
    RetryPolicy,
    Usage,
    answers_by_model,
    ledger_totals,
    read_ledger,
)
from crm_assets.llm.pricing import price_of
from crm_assets.llm.replies import read_usage
from crm_assets.llm.spending import spent_so_far
from tests.llm.asking import ALICE, UNPRICED, ask, entries, is_fine, kinds, spec_of, with_client
from tests.llm.scripted_server import Scripted, ScriptedServer, hang, text

ONE_AND_TEN = {
    "usd_per_million_prompt_tokens": 1.0,
    "usd_per_million_cached_prompt_tokens": None,
    "usd_per_million_completion_tokens": 10.0,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def using(usage: Mapping[str, Any] | None, **changes: Any) -> Scripted:
    """An answer with this usage."""
    body = {**text("fine").body, "usage": usage, **changes}
    return Scripted({name: value for name, value in body.items() if value is not None})


def counts(prompt: int, completion: int, total: int | None = None, **details: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, **details}
    return usage if total is None else {**usage, "total_tokens": total}


REASONING = {"completion_tokens_details": {"reasoning_tokens": 300}}


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (counts(100, 20, 420, **REASONING), Usage(100, 320, 0, 300)),  # beside the completion
        (counts(100, 0, 160, completion_tokens_details={"reasoning_tokens": 60}), Usage(100, 60, 0, 60)),
        (counts(100, 320, 420, **REASONING), Usage(100, 320, 0, 300)),  # within it
        (counts(100, 20, None, **REASONING), Usage(100, 320, 0, 300)),
        ({"prompt_tokens": 100, "total_tokens": 130}, Usage(100, 30)),
        (counts(100, 5, 105, prompt_cache_hit_tokens=90), Usage(100, 5, 90)),
        ({"prompt_tokens": 100.0, "completion_tokens": 20.0, "total_tokens": 120.0}, Usage(100, 20)),
    ],
)
def test_usage_is_understood(usage: dict[str, Any], read: Usage):
    assert read_usage(usage) == (read, None)


@pytest.mark.parametrize(
    ("usage", "read", "note"),
    [
        (counts(100, 20, 500), Usage(100, 20), "total_tokens is 500, not prompt 100 + completion 20"),
        (
            counts(100, 20, 120, **REASONING),
            Usage(100, 20, 0, 300),
            "300 reasoning tokens in a completion of 20",
        ),
        (
            counts(10, 20, 30, prompt_tokens_details={"cached_tokens": 40}),
            Usage(10, 20, 40),
            "40 cached tokens in a prompt of 10",
        ),
    ],
)
def test_what_does_not_add_up_is_kept_and_noted(usage: dict[str, Any], read: Usage, note: str):
    assert read_usage(usage) == (read, note)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many"}, {"prompt_tokens": 3}, [], "none"])
def test_a_usage_that_is_not_there_is_unknown(usage: object):
    assert read_usage(usage) == (None, None)


def test_reasoning_beside_the_completion_is_paid(path: Path):
    with ScriptedServer(using(counts(100, 20, 420, **REASONING))) as server:
        spec = spec_of(server, **ONE_AND_TEN)
        answer = with_client(lambda client: client.complete(ALICE, ask(spec)), path)
    assert answer.reply.usage == Usage(100, 320, 0, 300)
    assert answer.reply.cost_usd == pytest.approx(100e-6 + 320e-5)


def test_no_usage_is_unknown_and_not_nothing(path: Path):
    with ScriptedServer(using(None)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert (answer.reply.usage, answer.reply.cost_usd) == (None, None)
    spent = answer.spending
    assert (spent.unknown_usage_calls, spent.unknown_cost_calls, spent.cost_usd) == (1, 1, None)
    (entry,) = entries(path)
    assert (entry.prompt_tokens, entry.completion_tokens, entry.cost_usd) == (None, None, None)
    assert spent_so_far(spent) == "≥ 0 tokens"


def test_no_usage_of_a_free_model_costs_nothing():
    free = dict.fromkeys(ONE_AND_TEN, 0.0)
    with ScriptedServer(using(None)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server, **free))))
    assert (answer.spending.cost_usd, answer.spending.unknown_cost_calls) == (0.0, 0)


@pytest.mark.parametrize("budget", [Budget(tokens=200), Budget(usd=0.00001)])
def test_a_budget_that_cannot_be_kept_stops_the_run(budget: Budget):
    async def many(client: ModelClient) -> int:
        for number in range(10):
            try:
                await client.complete(ALICE, ask(spec_of(server), str(number)))
            except ConfigError as error:
                assert "reports no token usage, so a budget cannot be kept" in str(error)
                return number
        return 10

    with ScriptedServer(using(None)) as server:
        assert with_client(many, budget=budget) == 1
        assert len(server.requests) == 1


def test_timed_out_calls_are_counted_apart(path: Path):
    async def twice(client: ModelClient) -> None:
        await client.complete(ALICE, ask(spec, "first"))
        total = client.ledger.total()
        assert (total.calls, total.failed_calls) == (2, 1)
        assert (total.unknown_usage_calls, total.unknown_cost_calls) == (1, 1)
        assert total.cost_usd == pytest.approx(10 * 0.4e-6 + 5 * 1.6e-6)
        assert spent_so_far(total).startswith("≥ $0.0000, ≥ 15 tokens")

    with ScriptedServer([hang(), text()]) as server:
        spec = spec_of(server, timeout_seconds=0.3)
        with_client(twice, path)
    assert kinds(path) == ["timeout", None]
    assert (entries(path)[0].usage, entries(path)[0].cost_usd) == (None, None)


def test_a_budget_counts_an_estimate_for_calls_that_timed_out():
    async def until_spent(client: ModelClient) -> int:
        for number in range(20):
            try:
                await client.complete(ALICE, ask(spec, "x" * 4000 + str(number)))
            except BudgetExhausted as error:
                assert "estimated" in str(error)
                return number
            except ModelError:
                continue
        return 20

    with ScriptedServer(hang()) as server:
        spec = spec_of(server, timeout_seconds=0.1, max_output_tokens=500)
        once = RetryPolicy(attempts=1)
        assert with_client(until_spent, budget=Budget(tokens=3100), retries=once) == 2


def test_a_refused_call_makes_no_sum_of_unknown_ones(path: Path):
    refusal = Scripted({"error": {"message": "busy"}}, 500)
    with ScriptedServer([refusal, using(None)]) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    assert (answer.spending.cost_usd, answer.spending.unknown_cost_calls) == (None, 1)


def test_a_refused_call_costs_nothing(path: Path):
    refusal = Scripted({"error": {"message": "no"}}, 400)
    with ScriptedServer(refusal) as server, pytest.raises(ModelError):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server))), path)
    (entry,) = entries(path)
    assert (entry.usage, entry.cost_usd) == (Usage(), 0.0)


@pytest.mark.parametrize(("prompt", "completion", "cost"), [(0.0, 0.0, 0.0), (0.02, 0.04, 20.8e-6)])
def test_a_configured_price_holds_for_cached_tokens(prompt: float, completion: float, cost: float):
    usage = counts(1000, 20, 1020, prompt_tokens_details={"cached_tokens": 900})
    prices = {
        "usd_per_million_prompt_tokens": prompt,
        "usd_per_million_cached_prompt_tokens": None,
        "usd_per_million_completion_tokens": completion,
    }
    with ScriptedServer(using(usage)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server, **prices))))
    assert answer.reply.cost_usd == pytest.approx(cost)


def test_a_server_of_ones_own_is_not_charged_the_list_price():
    with ScriptedServer(text()) as server:
        spec = spec_of(server, **UNPRICED)
        answer = with_client(lambda client: client.complete(ALICE, ask(spec)))
        assert answer.reply.cost_usd is None
        assert not price_of(spec, own_server=True).known
    assert price_of(spec, own_server=False).cost_usd(Usage(1000, 10, 400)) == pytest.approx(
        600 * 0.4e-6 + 400 * 0.1e-6 + 10 * 1.6e-6
    )


def test_what_answered_is_priced():
    with ScriptedServer(text()) as server:
        spec = spec_of(server, **UNPRICED)
    asked, answered = (
        price_of(spec, own_server=False, answered=name).cost_usd(Usage(1000, 1000))
        for name in ("my-model", "gpt-4.1")
    )
    assert asked == pytest.approx(1000 * 0.4e-6 + 1000 * 1.6e-6)
    assert answered == pytest.approx(1000 * 2e-6 + 1000 * 8e-6)


def test_long_prompts_have_their_own_price():
    spec = spec_of(ScriptedServer(), model="gpt-5.5", **UNPRICED)
    price = price_of(spec, own_server=False)
    short, long = price.cost_usd(Usage(200_000, 0)), price.cost_usd(Usage(300_000, 0))
    assert short is not None
    assert long is not None
    assert long > short * 1.6


def test_it_is_kept_who_answered(path: Path):
    body = {**text().body, "model": "gpt-4.1", "system_fingerprint": "fp_7", "provider": "Elsewhere"}
    with ScriptedServer(Scripted(body)) as server:
        spec = spec_of(server, api_base=f"http://user:secret@127.0.0.1:{server.port}/v1")
        with_client(lambda client: client.complete(ALICE, ask(spec)), path)
        address = f"http://127.0.0.1:{server.port}/v1"
    (entry,) = entries(path)
    assert entry.server == address
    assert entry.answered_by is not None
    assert entry.answered_by.model_dump() == {
        "model": "gpt-4.1",
        "system_fingerprint": "fp_7",
        "provider": "Elsewhere",
    }
    assert "secret" not in path.read_text()
    assert answers_by_model(ledger_totals(path).values()) == {
        "openai/gpt-4.1-mini": [f"gpt-4.1 through Elsewhere at {address}"]
    }


def test_two_servers_or_models_in_one_run_are_seen(path: Path):
    seen: list[str | None] = []

    async def look(client: ModelClient) -> str | None:
        await client.complete(ALICE, ask(spec, f"again {spec.api_base}"))
        return client.activity.mixed

    with ScriptedServer(text()) as one, ScriptedServer(text()) as two:
        for server in (one, two):
            spec = spec_of(server)
            with_client(
                lambda client, spec=spec: client.complete(ALICE, ask(spec, spec.api_base or "")), path
            )
            seen.append(with_client(look, path))
        assert seen[0] is None
        answers = " and by ".join(sorted(f"scripted at {each.url}" for each in (one, two)))
        assert seen[1] == f"openai/gpt-4.1-mini was answered by {answers}"
    assert len(answers_by_model(ledger_totals(path).values())["openai/gpt-4.1-mini"]) == 2


def test_parameters_are_recorded_as_they_were_sent(path: Path):
    with ScriptedServer(text()) as server:
        for model in ("gpt-5-mini", "gpt-4.1-mini"):
            spec = spec_of(server, model=model, temperature=0.2, max_output_tokens=9)
            answer = with_client(lambda client, spec=spec: client.complete(ALICE, ask(spec)), path)
            assert answer.reply.sent is not None
            assert answer.reply.sent.temperature == (None if model == "gpt-5-mini" else 0.2)
    reasoning, other = (request.body for request in server.requests)
    assert "temperature" not in reasoning
    assert reasoning["max_completion_tokens"] == 9
    assert (other["temperature"], other["max_tokens"]) == (0.2, 9)
    sent = [entry.sent for entry in entries(path)]
    assert [each.temperature if each else "?" for each in sent] == [None, 0.2]


def cut(content: str | None) -> Scripted:
    return text(content, finish_reason="length")


@pytest.mark.parametrize("content", ["", None, "half an ans"])
def test_a_reply_that_is_cut_off_is_not_asked_for_again(path: Path, content: str | None):
    with (
        ScriptedServer(cut(content)) as server,
        pytest.raises(MalformedReply, match=r"cut off at max_output_tokens \(77\); raise it") as raised,
    ):
        spec = spec_of(server, max_output_tokens=77)
        with_client(lambda client: client.complete(ALICE, ask(spec), check=is_fine), path)
    assert len(server.requests) == 1
    assert kinds(path) == ["length"]
    assert raised.value.reply is not None
    assert raised.value.reply.finish_reason == "length"


def test_a_filtered_reply_is_no_reply_and_not_asked_for_again(path: Path):
    with (
        ScriptedServer(text(None, finish_reason="content_filter")) as server,
        pytest.raises(ModelError, match="withheld its reply") as raised,
    ):
        with_client(lambda client: client.complete(ALICE, ask(spec_of(server)), check=is_fine), path)
    assert not isinstance(raised.value, MalformedReply)
    assert len(server.requests) == 1
    assert kinds(path) == ["content_filter"]


def test_a_refusal_is_what_the_model_said():
    message = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    body = {**text().body, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    with ScriptedServer(Scripted(body)) as server:
        answer = with_client(lambda client: client.complete(ALICE, ask(spec_of(server))))
    assert (answer.reply.content, answer.reply.finish_reason) == ("I can't help with that.", "refusal")


def test_a_ledger_of_the_first_version_is_read(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '{"kind":"call","schema_version":1,"session":"s","role":"judge","model":"openai/x",'
        '"request_sha256":"0","ordinal":1,"attempt":1,"started_at":"2026-01-01T00:00:00.000+00:00",'
        '"latency_seconds":1.5,"prompt_tokens":7,"completion_tokens":3,"cached_tokens":0,'
        '"reasoning_tokens":0,"cost_usd":0.5,"error":null,"reply":{"content":"yes","tool_calls":'
        '[{"id":"a","name":"b","arguments":"{}"}],"finish_reason":"stop"}}\n'
    )
    (entry,) = read_ledger(path)
    assert (entry.usage, entry.cost_usd, entry.answered, entry.sent) == (Usage(7, 3), 0.5, None, None)
    assert entry.chat_reply is not None
    assert entry.chat_reply.tool_calls[0].state is None


def test_calls_that_are_cancelled_are_of_unknown_cost():
    async def work(client: ModelClient) -> None:
        task = asyncio.create_task(client.complete(ALICE, ask(spec_of(server))))
        while not server.requests:
            await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        total = client.ledger.total()
        assert (total.calls, total.unknown_cost_calls, total.cost_usd) == (1, 1, None)
        assert total.estimated_tokens > 0

    with ScriptedServer(hang()) as server:
        with_client(work)
