"""Check that a regular expression matches any text in bounded time.

A backtracking matcher tries, at every position of a text, every way in which the pattern can match. Their
number follows from the parsed pattern: a repeat multiplies it, unless the character after the repeat cannot
be one of its own. This is a coarse form of Weideman et al., "Analyzing Matching Time Behavior of
Backtracking Regular Expression Matchers by Using Ambiguity of NFA" (CIAA 2016): it may reject a harmless
pattern but accepts no catastrophic one. A timeout alone would not do: the verdict would depend on the
machine, and the Atlas SDK matches stored patterns without one.
"""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from typing import Any, NamedTuple

from crm_assets.atlas.playbook import characters
from crm_assets.atlas.playbook.characters import parser

__all__ = ["LONGEST_PATTERN", "LONGEST_TEXT", "regex_problem"]

LONGEST_PATTERN = 200
"""Maximum characters of a pattern."""
LONGEST_TEXT = 400
"""Characters of a text that a pattern is matched with; the rest is ignored."""

_MOST_TRIES = 1_000_000_000
"""Limit of the worst case: allows two open gaps and some alternatives, but not three gaps."""

_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
_GROUPS = frozenset({"SUBPATTERN", "ATOMIC_GROUP"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


class _Refused(Exception):
    """The reason why a pattern is rejected."""


class _Cost(NamedTuple):
    """The worst-case cost of matching a part of a pattern at one position."""

    ways: int
    """Number of ways to match: how often the rest of the pattern is tried."""
    tries: int
    """Number of steps to try all of them."""


class _First(NamedTuple):
    """The characters with which a match of a part can begin."""

    mask: int
    """See `characters`."""
    nullable: bool
    """True if the part can match the empty text."""


@lru_cache(maxsize=4096)
def regex_problem(pattern: str) -> str | None:
    """Return why `pattern` is rejected, as the end of a sentence; None if it is accepted."""
    if len(pattern) > LONGEST_PATTERN:
        return f"the pattern is longer than {LONGEST_PATTERN} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # other engines read such patterns differently
            re.compile(pattern, re.IGNORECASE)
            parsed = parser.parse(pattern, re.IGNORECASE)
        _check(parsed)
    except _Refused as refused:
        return str(refused)
    except (re.error, OverflowError, Warning) as error:
        return f"the pattern is not a valid regular expression ({error})"
    except RecursionError:
        return "the pattern is nested too deeply"
    return None


def _check(parsed: Any) -> None:
    if parsed.state.flags & re.ASCII:
        raise _Refused("the pattern sets a flag that is not supported")
    items = list(parsed)
    while items and _never_fails(items[-1]):
        items.pop()  # it is tried once, and then the match is complete
    anchored = bool(items) and str(items[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
    starts = 1 if anchored and not parsed.state.flags & re.MULTILINE else LONGEST_TEXT
    _bounded(starts * (1 + _sequence(items, 0).tries))


def _never_fails(item: Any) -> bool:
    name, value = str(item[0]), item[1]
    if name not in _REPEATS:
        return False
    least, _, body = value
    return least == 0 and all(str(part[0]) in _SINGLE for part in body)


def _bounded(tries: int) -> int:
    if tries > _MOST_TRIES:
        raise _Refused(
            "the pattern can take too long: do not nest repeats that match the same text, and use at most "
            "two open gaps such as .*"
        )
    return tries


def _sequence(items: Sequence[Any], follow: int) -> _Cost:
    """Return the cost of a sequence of items before a part that begins with `follow`."""
    ways = 1
    tries = 0
    for item in reversed(items):
        cost = _item(item, follow)
        tries = _bounded(cost.tries + cost.ways * tries)
        ways = _bounded(cost.ways * ways)
        first = _first_of_item(item)
        follow = first.mask | (follow if first.nullable else 0)
    return _Cost(ways, tries)


def _item(item: Any, follow: int) -> _Cost:
    name, value = str(item[0]), item[1]
    if name in _SINGLE or name == "AT":
        return _Cost(1, 0)
    if name in _REPEATS:
        return _repeat(*value, follow=follow)
    if name in _GROUPS:
        return _sequence(list(_members(name, value)), follow)
    if name == "BRANCH":
        return _branch([list(part) for part in value[1]], follow)
    if name in ("ASSERT", "ASSERT_NOT"):
        inside = _sequence(list(value[1]), characters.ANY)
        return _Cost(1, inside.tries + inside.ways)
    raise _Refused("the pattern has a back reference to a group, which can take too long")


def _members(name: str, value: Any) -> Iterable[Any]:
    parts: Iterable[Any] = value[3] if name == "SUBPATTERN" else value
    return parts


def _repeat(least: int, most: Any, body: Any, *, follow: int) -> _Cost:
    items = list(body)
    shortest = max(1, body.getwidth()[0])
    most = min(int(most), LONGEST_TEXT // shortest)
    least = min(least, most)
    first = _first(items)
    # If another round and the rest cannot both begin with one character, the repeat can end in one place.
    only_one_end = least == most or not first.mask & follow
    inside = _sequence(items, follow | first.mask)
    if inside.ways == 1:
        ends = 1 if only_one_end and not first.nullable else most - least + 1
        return _Cost(ends, _bounded(most * (1 + inside.tries)))
    ways = tries = 0
    power = 1
    for rounds in range(most + 1):
        ways += power if rounds >= least else 0
        tries = _bounded(tries + power * (1 + inside.tries))
        power *= inside.ways
    return _Cost(_bounded(ways), tries)


def _branch(parts: Sequence[Sequence[Any]], follow: int) -> _Cost:
    """Return the cost of alternatives: only those that can begin with the same character add up."""
    costs = [_sequence(part, follow) for part in parts]
    firsts = [_first(part) for part in parts]
    ways = max(
        sum(
            cost.ways
            for cost, first in zip(costs, firsts, strict=True)
            if first.nullable or first.mask >> bit & 1
        )
        for bit in range(characters.SIZE)
    )
    return _Cost(max(1, ways), len(parts) + sum(cost.tries for cost in costs))


def _first(items: Iterable[Any]) -> _First:
    mask = 0
    for item in items:
        first = _first_of_item(item)
        mask |= first.mask
        if not first.nullable:
            return _First(mask, False)
    return _First(mask, True)


def _first_of_item(item: Any) -> _First:
    name, value = str(item[0]), item[1]
    if name in _SINGLE:
        return _First(characters.mask(item), False)
    if name == "AT":
        return _First(0, True)
    if name in _REPEATS:
        first = _first(value[2])
        return _First(first.mask, first.nullable or value[0] == 0)
    if name in _GROUPS:
        return _first(_members(name, value))
    if name == "BRANCH":
        firsts = [_first(part) for part in value[1]]
        mask = reduce(operator.or_, (first.mask for first in firsts))
        return _First(mask, any(first.nullable for first in firsts))
    # A lookahead or lookbehind is tried at every position.
    return _First(characters.ANY, True)
