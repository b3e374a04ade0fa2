"""Shards: the parts of a run that workers take, of whole learning keys where sessions learn."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from crm_assets.engine.work import WorkItem
from crm_assets.errors import InputError

__all__ = ["MOST_SHARDS", "WHOLE", "Shard", "items_of", "shards_left"]

MOST_SHARDS = 50
"""A run's steps are planned and listed one by one, in Dagster and by people."""

_NAME = re.compile(r"shard_(\d+)_of_(\d+)")


class Shard(NamedTuple):
    """One of the equal parts that a run is divided into."""

    number: int
    """From 1."""
    of: int

    @classmethod
    def parse(cls, name: str) -> Shard:
        """Return the shard of a name.

        Raises:
            InputError: it is none.
        """
        match = _NAME.fullmatch(name)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"{name!r} is no name of a shard (such as shard_1_of_8).")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """Return its name; names sort as numbers do."""
        return f"shard_{self.number:0{len(str(self.of))}d}_of_{self.of}"


WHOLE = Shard(1, 1)
"""The only shard of a run that is not divided."""

Items = Callable[[], Iterable[WorkItem]]
"""Reads the items of a run, in order; called more than once, so that they need not fit into memory."""


def shards_left(
    items: Items, count: int, *, whole_keys: bool, finished: Collection[str] = ()
) -> dict[Shard, int]:
    """Return the shards that have sessions left, and how many; those with the most turns left first.

    Args:
        items: of the run.
        count: shards that it is divided into.
        whole_keys: sessions of one learning key are of one shard, since they run one after the other.
        finished: keys of the sessions that are done.
    """
    sessions: dict[int, int] = defaultdict(int)
    turns: dict[int, int] = defaultdict(int)
    if whole_keys:  # in one pass, since the tasks may be a million
        of_key: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for item in items():
            is_left = item.key not in finished
            sums = of_key[item.learning_key]
            sums[0] += item.turns
            sums[1] += is_left
            sums[2] += item.turns * is_left
        by_key = _by_key({key: sums[0] for key, sums in of_key.items()}, count)
        for key, (_, sessions_left, turns_left) in of_key.items():
            if sessions_left:
                sessions[by_key[key]] += sessions_left
                turns[by_key[key]] += turns_left
    else:
        for item, number in _deal(items, count, whole_keys=False):
            if item.key not in finished:
                sessions[number] += 1
                turns[number] += item.turns
    longest_first = sorted(sessions, key=lambda number: (-turns[number], number))
    return {Shard(number, count): sessions[number] for number in longest_first}


def items_of(shard: Shard, items: Items, *, whole_keys: bool) -> Iterator[WorkItem]:
    """Yield the items of one shard, in the run's order; arguments as of `shards_left`."""
    for item, number in _deal(items, shard.of, whole_keys=whole_keys):
        if number == shard.number:
            yield item


def _deal(items: Items, count: int, *, whole_keys: bool) -> Iterator[tuple[WorkItem, int]]:
    """Yield each item with the number of its shard, always the same for the same items.

    Each key goes to the shard with the fewest turns so far, the longest key first (Graham's LPT rule);
    where sessions do not wait for each other, each of them does, as it comes.
    """
    if not whole_keys:
        lightest = _Lightest(count)
        for item in items():
            yield item, lightest.take(item.turns)
        return
    turns: dict[str, int] = defaultdict(int)
    for item in items():
        turns[item.learning_key] += item.turns
    by_key = _by_key(turns, count)
    for item in items():
        yield item, by_key[item.learning_key]


def _by_key(turns: Mapping[str, int], count: int) -> dict[str, int]:
    """Return the shard of each key."""
    lightest = _Lightest(count)
    return {key: lightest.take(turns[key]) for key in sorted(turns, key=lambda key: (-turns[key], key))}


class _Lightest:
    """Finds the shard with the fewest turns so far."""

    def __init__(self, count: int) -> None:
        self._loads = [(0, number) for number in range(1, count + 1)]

    def take(self, turns: int) -> int:
        """Return its number, and add turns to it."""
        load, number = self._loads[0]
        heapq.heapreplace(self._loads, (load + turns, number))
        return number
