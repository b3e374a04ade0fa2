from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from crm_assets.errors import ConfigError, InputError
from crm_assets.llm import (
    Answer,
    Caller,
    Ledger,
    MalformedReply,
    ModelError,
    Models,
    ModelSpec,
    RefusedRequest,
    ReplayModels,
    RetryPolicy,
    Role,
    Spending,
)
from tests.llm.asking import ALICE, FAST, TOOLS, ask, is_fine, kinds, run, with_client
from tests.llm.scripted_server import (
    Faults,
    ScriptedServer,
    calls,
    hang,
    rate_limited,
    refused,
    reset,
    text,
    truncated,
)
from tests.waiting import HANG_SECONDS

HASTY = RetryPolicy(attempts=3, malformed_attempts=2, base_seconds=0.001)
SPEC = ModelSpec(provider="openai", model="gpt-4.1-mini", timeout_seconds=HANG_SECONDS)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return tmp_path / "recorded.jsonl"


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    return tmp_path / "replayed.jsonl"


def on(server: ScriptedServer) -> ModelSpec:
    return SPEC.model_copy(update={"api_base": server.url})


async def outcome(models: Models, caller: Caller, spec: ModelSpec, text_: str, **options: Any) -> Any:
    """What a call comes to, so that two can be compared."""
    try:
        return await models.complete(caller, ask(spec, text_), **options)
    except (ModelError, ConfigError) as error:
        return type(error), str(error), getattr(error, "reply", None), getattr(error, "spending", None)


def test_a_recorded_run_comes_out_the_same_without_a_network(recorded: Path, replayed: Path):
    faults = [
        rate_limited(retry_after="0.01"),
        refused(500),
        reset(),
        truncated(),
        text("nonsense"),
        text(None),
    ]

    async def session(models: Models, spec: ModelSpec) -> tuple[list[Any], Mapping[Role, Spending]]:
        async def one(number: int) -> Any:
            role: Role = "judge" if number % 3 else "student"
            # every question twice, so that the order of equal ones matters
            return await outcome(models, Caller("s", role), spec, f"{number // 2}", check=is_fine)

        return [await one(number) for number in range(40)], models.spent("s")

    with ScriptedServer(text(), faults=Faults(0.5, faults, seed=3)) as server:
        was = with_client(lambda client: session(client, on(server)), recorded, retries=HASTY)
        count = len(server.requests)
    assert any(not isinstance(one, Answer) for one in was[0])  # some were given up
    assert any(isinstance(one, Answer) and one.spending.failed_calls for one in was[0])

    with Ledger(replayed) as ledger:
        again = run(session(ReplayModels(recorded, ledger=ledger, retries=HASTY), SPEC))
    assert again == was
    assert replayed.read_bytes() == recorded.read_bytes()
    assert recorded.read_bytes().count(b"\n") == count


def test_a_replay_needs_neither_litellm_nor_a_key(recorded: Path):
    with ScriptedServer([refused(500), calls(("create_client", "{}"))]) as server:
        with_client(lambda client: client.complete(ALICE, ask(on(server), tools=TOOLS)), recorded)
    code = f"""
import asyncio, sys
from pathlib import Path
from crm_assets.llm import ReplayModels
from tests.llm.asking import ALICE, TOOLS, ask
from tests.llm.test_replay import SPEC
answer = asyncio.run(ReplayModels(Path({str(recorded)!r})).complete(ALICE, ask(SPEC, tools=TOOLS)))
print(answer.reply.tool_calls[0].name, answer.spending.calls, "litellm" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["create_client", "2", "False"], done.stderr


@pytest.mark.parametrize(
    "answer", [refused(400, "no such"), refused(401, "who are you"), refused(503), text("x")]
)
def test_failures_come_out_the_same(recorded: Path, answer: Any):
    with ScriptedServer(answer) as server:
        was = with_client(lambda client: outcome(client, ALICE, on(server), "q", check=is_fine), recorded)
    models = ReplayModels(recorded)
    assert run(outcome(models, ALICE, SPEC, "q", check=is_fine)) == was
    assert not isinstance(was, Answer)
    assert was[0] in {RefusedRequest, ModelError, ConfigError, MalformedReply}


@pytest.mark.parametrize(
    ("caller", "text_"),
    [
        (Caller("dev/alice#0", "judge"), "hello"),
        (Caller("dev/bob#0", "student"), "hello"),
        (ALICE, "other"),
    ],
)
def test_what_was_not_recorded_is_not_made_up(recorded: Path, caller: Caller, text_: str):
    with ScriptedServer() as server:
        with_client(lambda client: client.complete(ALICE, ask(on(server))), recorded)
    with pytest.raises(ModelError, match=rf"no such call of the {caller.role} in session {caller.session}"):
        run(ReplayModels(recorded).complete(caller, ask(SPEC, text_)))


def test_each_time_counts_once(recorded: Path):
    async def twice(models: Models, spec: ModelSpec) -> list[str | None]:
        return [(await models.complete(ALICE, ask(spec))).reply.content for _ in range(2)]

    with ScriptedServer([text("first"), text("second")]) as server:
        with_client(lambda client: twice(client, on(server)), recorded)
    models = ReplayModels(recorded)
    assert run(twice(models, SPEC)) == ["first", "second"]
    with pytest.raises(ModelError, match="no such call"):
        run(models.complete(ALICE, ask(SPEC)))


def test_a_call_that_was_given_up_by_its_caller_ends_in_a_timeout(recorded: Path):
    async def impatient(models: Models, spec: ModelSpec) -> str:
        try:
            with anyio.fail_after(HANG_SECONDS) as patience:
                giving_up = asyncio.ensure_future(give_up(patience))
                await models.complete(ALICE, ask(spec, "slow"))
        except TimeoutError:
            return "gave up"
        finally:
            giving_up.cancel()
        return "got it"

    async def give_up(patience: anyio.CancelScope) -> None:
        while not server.requests:
            await asyncio.sleep(0.005)
        patience.deadline = anyio.current_time()

    with ScriptedServer(hang()) as server:
        assert with_client(lambda client: impatient(client, on(server)), recorded) == "gave up"
    server.requests.clear()  # so that it is the recording that gives up
    models = ReplayModels(recorded)
    assert run(impatient(models, SPEC)) == "gave up"
    spent = models.spent(ALICE.session)["student"]
    assert (spent.calls, spent.failed_calls, spent.unknown_usage_calls) == (1, 1, 1)
    assert spent.cost_usd is None
    assert kinds(recorded) == ["cancelled"]


def test_a_run_of_several_starts_is_replayed_as_one(recorded: Path):
    with ScriptedServer([*[refused(500)] * 9, text("at last")]) as server:
        with pytest.raises(ModelError):
            with_client(lambda client: client.complete(ALICE, ask(on(server))), recorded)
        was = with_client(lambda client: client.complete(ALICE, ask(on(server))), recorded)
    assert run(ReplayModels(recorded).complete(ALICE, ask(SPEC))) == was


def test_an_interrupted_replay_records_nothing_twice(recorded: Path, replayed: Path):
    with ScriptedServer([refused(500), text()]) as server:
        with_client(lambda client: client.complete(ALICE, ask(on(server))), recorded)
    for _ in range(2):
        with Ledger(replayed) as ledger:
            models = ReplayModels(recorded, ledger=ledger, retries=FAST)
            assert run(models.complete(ALICE, ask(SPEC))).spending.calls == 2
            assert models.spent(ALICE.session)["student"].calls == 2
    assert replayed.read_bytes() == recorded.read_bytes()


def test_sessions_start_from_what_they_started_from(recorded: Path, replayed: Path):
    async def start(models: Any) -> dict[str, Any] | None:
        state = models.noted("s", "learning") or {"fresh": True}
        models.note("s", "learning", state)
        return state

    assert with_client(start, recorded) == {"fresh": True}
    with Ledger(recorded) as ledger:
        ledger.note("s", "learning", {"version": 4})
    assert with_client(start, recorded) == {"version": 4}
    with Ledger(replayed) as ledger:
        assert run(start(ReplayModels(recorded, ledger=ledger))) == {"version": 4}
        assert ledger.noted("s", "learning") == {"version": 4}


def test_a_bad_recording_is_named(recorded: Path):
    recorded.write_text('{"kind": "call"}\n')
    with pytest.raises(InputError, match=r"recorded\.jsonl, line 1"):
        ReplayModels(recorded)
