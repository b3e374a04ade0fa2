"""What differs between two runs besides their outcomes, by what their sessions say of themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from crm_assets.reporting.comparison.models import FactChange

__all__ = ["compare_facts", "read_facts"]

# The entries of a session's metadata that say how the run was made. The others say what became of the
# session, and are the same in all sessions of a small run by chance alone.
_OF_THE_RUN = frozenset(
    {
        "agent",
        "backend",
        "config",
        "config_path",
        "config_sha256",
        "conversations_path",
        "engine",
        "execution_mode",
        "feedback",
        "learning",
        "models",
        "prompts",
        "software",
        "use_llm_judge",
    }
)
_ENTRIES_AT_START = "playbook_entries_at_start"
_METADATA = b'"atlas_metadata":'
_DECODER = json.JSONDecoder()  # the one that can read a value and stop there
_MOST_VALUES = 8  # that are named, of a fact that changed within a run

Scalar = str | int | float | bool | None


def read_facts(sessions: Path) -> dict[str, Scalar]:
    """What the sessions in a file say of their run: the scalar leaves of its facts, by their path.

    A run that was stopped and went on later may have seen two versions of a thing: both are named. What was
    learnt before the run is told by the entries that the first session of each learning key could use.
    """
    seen: dict[str, dict[Scalar, None]] = {}
    entries: dict[str, int] = {}
    last: object = None
    with sessions.open("rb") as handle:
        for line in handle:
            metadata = _metadata(line)
            if (available := metadata.get("entries_available")) is not None:
                entries.setdefault(metadata["learning_key"], available)
            facts = {name: value for name, value in metadata.items() if name in _OF_THE_RUN}
            if facts == last:
                continue  # as nearly always
            last = facts
            for path, value in _leaves(facts):
                if value is not None:
                    seen.setdefault(path, {})[value] = None
    found = {path: _one_value(list(values)) for path, values in seen.items()}
    return {**found, _ENTRIES_AT_START: sum(entries.values())} if entries else found


def _metadata(line: bytes) -> Mapping[str, Any]:
    """What a session says of its run; the rest of its line, mostly transcript, is not read without need."""
    # In a string the quotes would be escaped, so what is found is a name. A line that was cut, or has
    # something before it, is left to the parser, to refuse.
    if line.startswith(b"{") and line.rstrip().endswith(b"}") and line.count(_METADATA) == 1:
        with suppress(ValueError):
            value = _DECODER.raw_decode(line[line.index(_METADATA) + len(_METADATA) :].decode())[0]
            if isinstance(value, dict):
                return value
    return dict(orjson.loads(line)["atlas_metadata"])


def _one_value(values: list[Scalar]) -> Scalar:
    if len(values) == 1:
        return values[0]
    named = sorted(str(value) for value in values)
    more = len(named) - _MOST_VALUES
    return ", ".join(named[:_MOST_VALUES]) + (f" and {more} more" if more > 0 else "")


def compare_facts(a: Mapping[str, Scalar], b: Mapping[str, Scalar]) -> tuple[FactChange, ...]:
    """What the two runs say differently; what one of them does not say is null."""
    return tuple(
        FactChange(fact=path, a=a.get(path), b=b.get(path))
        for path in dict.fromkeys((*a, *b))
        if a.get(path) != b.get(path)
    )


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        # In one piece: by position, one entry more would shift all that follow.
        yield path, orjson.dumps(value).decode()
    else:
        yield path, value
