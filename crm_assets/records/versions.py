"""Older versions of the session log, and how they read today: the one place that knows them.

Version 1: run.json holds `tasks_sha256`, `agent` and `code` alone, without a version; every line of
sessions.jsonl repeats the facts of the run in its `atlas_metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from crm_assets.errors import InputError
from crm_assets.records.header import ImportedFile, RunHeader, merge_software
from crm_assets.records.summary import FactsSummary, SessionSummary

__all__ = ["RunOfVersion1", "SummaryOfVersion1"]

_SAME = (
    "run_id",
    "dataset",
    "dataset_revision",
    "agent",
    "backend",
    "use_llm_judge",
    "config_path",
    "conversations_path",
    "tasks_path",
)

_same = attrgetter(*_SAME)


class _FactsOfVersion1(FactsSummary, frozen=True, kw_only=True):
    run_id: str | None = None
    dataset: str | None = None
    dataset_revision: str | None = None
    agent: dict[str, Any] | None = None
    backend: str | None = None
    use_llm_judge: bool | None = None
    config_path: str | None = None
    conversations_path: str | None = None
    tasks_path: str | None = None
    software: dict[str, str] | None = None


class SummaryOfVersion1(SessionSummary, frozen=True, kw_only=True):
    """A session whose line holds the facts of its run, too."""

    atlas_metadata: _FactsOfVersion1


class RunOfVersion1:
    """Gathers the facts of a run from its sessions, which must all be of one run."""

    def __init__(self, sessions: Path) -> None:
        self._sessions = sessions
        self._first: tuple[Any, ...] | None = None
        self._software: dict[str, str] = {}
        self._last: dict[str, str] | None = None

    def add(self, number: int, session: SummaryOfVersion1) -> None:
        """Take the facts of the session on line `number`.

        Raises:
            InputError: they are those of another run than the first line's.
        """
        facts = session.atlas_metadata
        same = _same(facts)
        if self._first is None:
            self._first = same
        if same != self._first:
            name, found, known = next(
                each for each in zip(_SAME, same, self._first, strict=True) if each[1] != each[2]
            )
            raise InputError(
                f"{self._sessions}, line {number}: {name} is {found!r}, and {known!r} in the first line; "
                "give the sessions of one run at a time."
            )
        if facts.software and facts.software != self._last:
            self._last = facts.software
            self._software = merge_software(self._software, facts.software)

    def header(self, identity: Mapping[str, object]) -> RunHeader:
        """Return the facts of the run: those of its sessions, completed by those of its run.json."""
        facts = dict(zip(_SAME, self._first, strict=True)) if self._first else {}
        agent = facts.pop("agent", None)
        imported = (agent or {}).get("imported")
        if agent is not None:
            agent = {name: value for name, value in agent.items() if name != "imported"}
        return RunHeader(
            tasks_sha256=identity.get("tasks_sha256"),
            code=identity.get("code"),
            settings=identity.get("settings"),
            agent=agent,
            imported=None if imported is None else ImportedFile.model_validate(imported),
            software=self._software,
            answered_by=identity.get("answered_by") or {},
            **facts,
        )
