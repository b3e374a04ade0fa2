"""Keys of a dataset that are not read, but were probably meant to be: findings of the audit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache

from pydantic import BaseModel

from crm_assets.conversations.conversation import Conversation, ExpectedResponse, JsonObject, Turn

__all__ = ["misspelled_keys", "unread_seeds"]

_SIMILAR = 0.8  # of difflib: one or two wrong letters in a key of these lengths
_SEEDS = frozenset({"seed_data"})


def misspelled_keys(document: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield unknown keys that resemble a known one that is missing, each as (key, example).

    Args:
        document: a conversation's line that was parsed without problems.
    """
    yield from _misspelled(document, _names(Conversation), "")
    yield from _misspelled(document.get("initial_entities") or {}, _SEEDS, "initial_entities.")
    for index, turn in enumerate(document["turns"]):
        where = f"turns[{index}]."
        yield from _misspelled(turn, _names(Turn), where)
        response = turn.get("expected_response") or {}
        yield from _misspelled(response, _names(ExpectedResponse), f"{where}expected_response.")


def unread_seeds(conversation: Conversation, entities: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield seeds that are missing or under a name that is not an entity, each as (key, example).

    Args:
        conversation: the conversation.
        entities: names of the CRM's entities.
    """
    given = conversation.initial_entities
    if "seed_data" not in given:
        there = f" (it has {', '.join(list(given)[:3])})" if given else ""
        yield "seed_data", f"initial_entities has no seed_data{there}"
    for name in conversation.seed_data:
        if name not in entities:
            meant = _closest(name, frozenset(entities))
            hint = f" (did you mean {meant}?)" if meant else ""
            yield name[:80], f"seeds are under '{name[:80]}', which is not an entity of the CRM{hint}"


@lru_cache(maxsize=64)
def _names(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(model.model_fields)


def _misspelled(
    fields: Mapping[str, object], known: frozenset[str], where: str
) -> Iterator[tuple[str, str]]:
    for key in fields.keys() - known:
        meant = _closest(key, known.difference(fields))
        if meant is not None:
            yield key[:80], f"{where}{key[:80]} is not read (did you mean {meant}?)"


@lru_cache(maxsize=1024)
def _closest(name: str, known: frozenset[str]) -> str | None:
    by_lower = {each.lower(): each for each in sorted(known)}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=_SIMILAR)
    return by_lower[found[0]] if found else None
