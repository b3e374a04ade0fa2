"""Shards of a run: every session in one of them, keys whole where sessions wait for each other."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.engine import WorkItem, items_of, shards_left
from crm_assets.engine.shards import Shard
from crm_assets.errors import InputError


def items(turns: list[int], keys: int) -> list[WorkItem]:
    return [
        WorkItem(f"t{number}", f"k{number % keys}", count, number + 1, number)
        for number, count in enumerate(turns)
    ]


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=60),
    st.integers(1, 7),
    st.integers(1, 9),
    st.booleans(),
)
def test_every_session_is_in_one_shard_and_the_longest_comes_first(
    turns: list[int], keys: int, count: int, whole_keys: bool
):
    every = items(turns, keys)
    shards = shards_left(lambda: every, count, whole_keys=whole_keys)
    parts = [list(items_of(shard, lambda: every, whole_keys=whole_keys)) for shard in shards]
    assert sorted(item for part in parts for item in part) == sorted(every)
    assert [len(part) for part in parts] == list(shards.values())
    assert all(part == sorted(part, key=lambda item: item.line) for part in parts)
    loads = [sum(item.turns for item in part) for part in parts]
    assert loads == sorted(loads, reverse=True)
    if whole_keys:
        shards_of: dict[str, set[int]] = defaultdict(set)
        for number, part in enumerate(parts):
            for item in part:
                shards_of[item.learning_key].add(number)
        assert all(len(found) == 1 for found in shards_of.values())
    else:
        # Graham's bound of list scheduling.
        assert max(loads) <= sum(turns) / count + max(turns)


def test_what_is_done_is_left_out_and_moves_nothing():
    every = items([5, 4, 3, 2, 1, 1], 6)
    before = {
        shard: {item.key for item in items_of(shard, lambda: every, whole_keys=False)}
        for shard in shards_left(lambda: every, 2, whole_keys=False)
    }
    (first, done), (second, _) = before.items()
    assert shards_left(lambda: every, 2, whole_keys=False, finished=done) == {second: len(before[second])}
    assert set(before) == {first, second}


def test_epochs_of_a_key_stay_together():
    once = items([2, 2, 2, 2], 2)
    every = [item._replace(epoch=epoch) for epoch in (1, 2) for item in once]
    shard = next(iter(shards_left(lambda: every, 2, whole_keys=True)))
    mine = Counter(item.task_id for item in items_of(shard, lambda: every, whole_keys=True))
    assert set(mine.values()) == {2}


def test_a_shard_is_told_by_its_name():
    assert Shard(3, 12).name == "shard_03_of_12"
    assert Shard.parse("shard_03_of_12") == Shard(3, 12)
    for name in ("shard_0_of_2", "shard_3_of_2", "one", ""):
        with pytest.raises(InputError, match="no name of a shard"):
            Shard.parse(name)
