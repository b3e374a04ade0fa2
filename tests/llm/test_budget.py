from __future__ import annotations

import asyncio

from crm_assets.concurrency import time_limit
from crm_assets.llm import Budget, Caller, ChatRequest, Ledger, Message, ModelSpec
from crm_assets.llm.budget import BudgetKeeper
from crm_assets.llm.pricing import Price
from crm_assets.llm.spending import Charge
from tests.llm.asking import run

REQUEST = ChatRequest(ModelSpec(provider="openai", model="small"), (Message("user", "hello"),))


def test_waiting_for_room_is_no_part_of_a_time_limit():
    async def watch() -> None:
        keeper = BudgetKeeper(Budget(tokens=1000), Ledger(), {})
        first = await keeper.reserve(Caller("a", "student"), REQUEST, Price(known=True))
        asyncio.get_running_loop().call_later(0.3, keeper.release, first, Charge(tokens=10))
        with time_limit(0.1):
            await keeper.reserve(Caller("b", "student"), REQUEST, Price(known=True))

    run(watch())
