"""Differences between the facts of two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from crm_assets.records import RunHeader, Scalar, SessionLog, SessionSummary
from crm_assets.reporting.comparison.models import FactChange

__all__ = ["RunFacts", "compare_facts", "read_facts"]

_ENTRIES_AT_START = "playbook_entries_at_start"
_PLAYBOOK = {"namespace", "entries", "version", "sha256", "taught_by"}  # what the run read
_MOST_VALUES = 8  # that are named, of a fact that changed within a run


class RunFacts:
    """Gathers the facts of a run that its sessions alone know."""

    def __init__(self) -> None:
        self._modes: dict[Scalar, None] = {}
        self._entries: dict[str, int] = {}

    def add(self, session: SessionSummary) -> None:
        """Add what a session says of its run."""
        facts = session.atlas_metadata
        if facts.execution_mode is not None:
            self._modes[facts.execution_mode] = None
        if facts.entries_available is not None and facts.learning_key is not None:
            self._entries.setdefault(facts.learning_key, facts.entries_available)

    def complete(self, header: RunHeader) -> dict[str, Scalar]:
        """Return the scalar facts of the run by path, those of its header first.

        What was learned before the run is in the entries that the first session of each learning key
        could use.
        """
        said = {
            "agent": header.agent_config,
            "answered_by": {asked: "; ".join(by) for asked, by in header.answered_by.items()},
            "backend": header.backend,
            "use_llm_judge": header.use_llm_judge,
            "config_path": header.config_path,
            "conversations_path": header.conversations_path,
            "software": header.software,
            "playbook": header.playbook.model_dump(include=_PLAYBOOK) if header.playbook else None,
            "subset": str(header.subset) if header.subset else None,
            "replay_of": header.replay_of.name if header.replay_of else None,
        }
        found: dict[str, Scalar] = {path: value for path, value in _leaves(said) if value is not None}
        if self._modes:
            found["execution_mode"] = _one_value(list(self._modes))
        return {**found, _ENTRIES_AT_START: sum(self._entries.values())} if self._entries else found


def read_facts(sessions: Path) -> dict[str, Scalar]:
    """Return the facts of a run: scalar leaves by their path.

    A run that was resumed may have seen two versions of a thing: both are named.

    Raises:
        InputError: the session log cannot be read.
    """
    log, facts = SessionLog(sessions), RunFacts()
    for entry in log.summaries():
        facts.add(entry.session)
    return facts.complete(log.header)


def _one_value(values: list[Scalar]) -> Scalar:
    if len(values) == 1:
        return values[0]
    named = sorted(str(value) for value in values)
    more = len(named) - _MOST_VALUES
    return ", ".join(named[:_MOST_VALUES]) + (f" and {more} more" if more > 0 else "")


def compare_facts(a: Mapping[str, Scalar], b: Mapping[str, Scalar]) -> tuple[FactChange, ...]:
    """Return the facts that differ; a fact that one of the runs does not have is None."""
    return tuple(
        FactChange(fact=path, a=a.get(path), b=b.get(path))
        for path in dict.fromkeys((*a, *b))
        if a.get(path) != b.get(path)
    )


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        # In one piece: by position, one entry more would shift all that follow.
        yield path, orjson.dumps(value).decode()
    elif value is None or isinstance(value, (str, int, float, bool)):
        yield path, value
