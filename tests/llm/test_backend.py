from __future__ import annotations

import subprocess
import sys

from crm_assets.llm import Answer, ModelClient, ModelSpec
from tests.llm.asking import ALICE, ask, run, spec_of, with_client
from tests.llm.scripted_server import ScriptedServer, broken, hang, refused, text
from tests.waiting import HANG_SECONDS

_PROGRAM = """
import asyncio, sys, threading
from crm_assets.llm import Caller, ChatRequest, Message, ModelClient, ModelError, ModelSpec, RetryPolicy
modules = set(sys.modules)
assert not modules & {"litellm", "openai", "aiohttp"}, "imported too early"

async def main():
    client = ModelClient({"OPENAI_API_KEY": "sk-canary"}, retries=RetryPolicy(base_seconds=0.001))
    spec = ModelSpec(provider="openai", model="gpt-4.1-mini", api_base=sys.argv[1], timeout_seconds=600)
    async def one(n):
        try:
            await client.complete(Caller("s", "student"), ChatRequest(spec, (Message("user", str(n)),)))
        except ModelError:
            pass
    await asyncio.gather(*(one(n) for n in range(20)))
    slow = asyncio.create_task(one("slow"))
    await asyncio.sleep(0.3)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await client.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}, asyncio.all_tasks()

asyncio.run(main())
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
"""


def test_nothing_is_said_and_nothing_left_behind():
    answers = {"1": broken({"choices": []}), "2": refused(500), "3": refused(400), "slow": hang()}
    with ScriptedServer(lambda request: answers.get(request.prompt, text())) as server:
        # -X dev tells of sockets and coroutines that nobody closed or awaited
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", _PROGRAM, server.url],
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
    output = [
        line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("Executing <")
    ]
    assert (done.returncode, output) == (0, [])


def test_an_offline_model_goes_the_same_way():
    spec = ModelSpec(provider="offline", model="teacher")
    answer = with_client(lambda client: client.complete(ALICE, ask(spec)), environment={})
    assert answer.reply.content
    assert answer.spending.usage.prompt_tokens > 0
    assert answer.spending.cost_usd == 0.0


def test_one_door_after_another_works_in_one_process():
    async def one(client: ModelClient) -> Answer:
        return await client.complete(ALICE, ask(spec))

    with ScriptedServer() as server:
        spec = spec_of(server)
        for _ in range(3):
            assert with_client(one).reply.content == "fine"

        async def side_by_side() -> list[Answer]:
            doors = [ModelClient({"OPENAI_API_KEY": "x"}) for _ in range(2)]
            first = await one(doors[0])
            await doors[0].aclose()
            second = await one(doors[1])  # another's closing is nothing to it
            await doors[1].aclose()
            return [first, second]

        assert [answer.reply.content for answer in run(side_by_side())] == ["fine", "fine"]
