"""Order and simultaneity of sessions, driven by workers that take a moment for each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from crm_assets.engine import WorkItem, repeat
from crm_assets.engine.scheduler import Scheduler

Task = tuple[str, str]

TASKS: list[Task] = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("c1", "c"), ("a3", "a"), ("b2", "b")]


class Log:
    """What ran when."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.running: set[str] = set()
        self.together: set[frozenset[str]] = set()

    async def work(self, scheduler: Scheduler, dice: random.Random) -> None:
        async with aclosing(scheduler.next()) as items:
            async for item in items:
                self.order.append(item.key)
                self.running.add(item.key)
                self.together.add(frozenset(self.running))
                await asyncio.sleep(dice.random() / 500)
                self.running.discard(item.key)


def items_of(
    tasks: Sequence[Task], *, epochs: int = 1, lengths: Sequence[int] | None = None
) -> list[WorkItem]:
    turns = lengths or [1] * len(tasks)
    return repeat(
        (
            WorkItem(name, key, turns[number], number + 1, 100 * number)
            for number, (name, key) in enumerate(tasks)
        ),
        epochs,
    )


def run(
    tasks: Sequence[Task] = TASKS,
    *,
    workers: int = 3,
    epochs: int = 1,
    in_order: bool = True,
    done: Sequence[str] = (),
    lengths: Sequence[int] | None = None,
    seed: int = 0,
) -> Log:
    log = Log()
    items = [one for one in items_of(tasks, epochs=epochs, lengths=lengths) if one.key not in done]

    async def main() -> None:
        scheduler = Scheduler(items, in_order=in_order, longest_first=lengths is not None)
        dice = random.Random(seed)
        await asyncio.wait_for(asyncio.gather(*(log.work(scheduler, dice) for _ in range(workers))), 10)

    asyncio.run(main())
    return log


def of_key(log: Log, key: str) -> list[str]:
    return [name for name in log.order if name.startswith(key)]


@pytest.mark.parametrize("seed", range(8))
def test_sessions_of_a_key_run_one_after_the_other_in_order(seed: int):
    log = run(workers=6, seed=seed)
    assert of_key(log, "a") == ["a1", "a2", "a3"]
    assert of_key(log, "b") == ["b1", "b2"]
    for running in log.together:
        keys = [name[0] for name in running]
        assert len(keys) == len(set(keys)), "two sessions of one key ran at once"


def test_keys_run_side_by_side():
    assert max(map(len, run(workers=6).together)) == 3


def test_never_more_run_than_there_are_workers():
    assert max(map(len, run(workers=2).together)) == 2
    assert max(map(len, run(workers=2, in_order=False).together)) == 2


def test_the_longest_key_goes_first():
    assert run(workers=1).order[0] == "a1"
    late = [("b1", "b"), ("c1", "c"), *((f"z{n}", "z") for n in range(5))]
    assert set(run(late, workers=2).order[:2]) == {"z0", "b1"}
    # With one worker it stays the longest until it is as short as the others.
    assert run(late, workers=1).order[:4] == ["z0", "z1", "z2", "z3"]


def test_without_an_order_everything_runs_side_by_side_in_the_order_of_the_tasks():
    log = run(workers=6, in_order=False)
    assert log.order == [name for name, _ in TASKS]
    assert max(map(len, log.together)) == 6


@pytest.mark.parametrize("in_order", [True, False])
def test_an_epoch_of_a_key_begins_when_the_one_before_is_through(in_order: bool):
    log = run(epochs=3, in_order=in_order, workers=1)
    assert sorted(log.order) == sorted(
        name if epoch == 1 else f"{name}#{epoch}" for name, _ in TASKS for epoch in (1, 2, 3)
    )
    expected = ["a1", "a2", "a3", "a1#2", "a2#2", "a3#2", "a1#3", "a2#3", "a3#3"]
    assert of_key(log, "a") == expected


@pytest.mark.parametrize("in_order", [True, False])
def test_what_is_done_is_not_run_again(in_order: bool):
    log = run(epochs=2, in_order=in_order, done=["a1", "a2#2", "c1"])
    assert sorted(log.order) == sorted(
        ["a2", "a3", "b1", "b2", "a1#2", "a3#2", "b1#2", "b2#2", "c1#2"],
    )
    assert run(done=[name for name, _ in TASKS], in_order=in_order).order == []


def test_a_worker_that_fails_leaves_its_key_to_the_others():
    async def main() -> list[str]:
        scheduler = Scheduler(items_of([("a1", "a"), ("a2", "a")]), in_order=True)
        with pytest.raises(RuntimeError, match="broken"):
            async with aclosing(scheduler.next()) as items:
                async for _ in items:
                    raise RuntimeError("broken")
        async with aclosing(scheduler.next()) as items:
            return [item.key async for item in items]

    assert asyncio.run(main()) == ["a2"]


def test_workers_that_wait_for_a_key_end_when_nothing_is_left_of_it():
    log = run([("a1", "a"), ("a2", "a")], workers=16)
    assert log.order == ["a1", "a2"]


def test_what_comes_next_can_be_prepared():
    scheduler = Scheduler(items_of(TASKS), in_order=False)
    assert [item.key for item in scheduler.upcoming(4)] == ["a1", "b1", "a2", "c1"]
    assert len(scheduler.upcoming(99)) == len(TASKS)
    in_order = Scheduler(items_of(TASKS), in_order=True)
    assert [item.key for item in in_order.upcoming(2)] == ["a1", "b1"]
    assert [item.key for item in in_order.upcoming(99)] == ["a1", "b1", "c1"]
    assert Scheduler([], in_order=True).upcoming(3) == []


def test_where_nothing_waits_the_longest_sessions_of_an_epoch_go_first() -> None:
    log = run(workers=1, epochs=2, in_order=False, lengths=[1, 3, 2, 3, 1, 5])
    first = ["b2", "b1", "c1", "a2", "a1", "a3"]
    assert log.order == first + [f"{name}#2" for name in first]


def test_sessions_that_wait_for_each_other_keep_their_order_however_long_they_are() -> None:
    log = run(workers=1, lengths=[1, 3, 2, 3, 9, 5])
    assert of_key(log, "a") == ["a1", "a2", "a3"]
    assert of_key(log, "b") == ["b1", "b2"]
