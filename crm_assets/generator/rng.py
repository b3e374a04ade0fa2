"""Random choices that are the same on every Python, and cheap: a conversation takes some 200 of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

__all__ = ["SeededRng"]

T = TypeVar("T")


class SeededRng:
    """Choices drawn from one seeded stream of floats.

    Only `Random.random` is used, whose sequence Python promises to keep; `Random.choice` and its
    siblings may change between versions, and cost four times as much.
    """

    __slots__ = ("_random", "bits")

    def __init__(self, seed: str) -> None:
        source = Random(seed)  # noqa: S311 - reproducible, not secret
        self._random = source.random
        self.bits = source.getrandbits

    def chance(self, probability: float) -> bool:
        """Return True with the given probability (0–1)."""
        return self._random() < probability

    def choice(self, options: Sequence[T]) -> T:
        """Return one of `options`, each equally likely."""
        return options[int(self._random() * len(options))]

    def randrange(self, start: int, stop: int | None = None) -> int:
        """Return a whole number below `start`, or from `start` up to, but not including, `stop`."""
        if stop is None:
            return int(self._random() * start)
        return start + int(self._random() * (stop - start))

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        """Return `count` different ones of `options`, in random order."""
        pool = list(options)
        return [pool.pop(int(self._random() * len(pool))) for _ in range(count)]
