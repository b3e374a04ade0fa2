"""Renders a baseline's lineage for a terminal of 80 columns or more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crm_assets.audit.models import Lineage, Verification
from crm_assets.reporting.document import Block, Section, Table, note, strong
from crm_assets.reporting.formats import NOTHING, counted

__all__ = ["lineage_blocks", "verification_blocks"]

_MOST_IDS = 6
_SHORT = 8  # of a run's ID, as Dagster's UI shows it


def lineage_blocks(lineage: Lineage) -> Iterator[Block]:
    """Yield what a terminal shows of a lineage; the rest is in the JSON."""
    yield from _section("Data", _data(lineage))
    if lineage.replay_of:
        yield from _section("Replay of", lineage.replay_of)
    if lineage.imported:
        yield from _section("Imported from", lineage.imported)
    yield from _section("Agent", lineage.agent)
    yield from _section("Models", lineage.models)
    yield from _section("Playbook", lineage.playbook or {})
    yield from _section("Configuration", _configuration(lineage))
    yield from _section("Software", _software(lineage))
    yield from _section("Dagster", _dagster(lineage))
    yield from _section("Telemetry", _telemetry(lineage))
    yield _files(lineage)
    if lineage.problems:
        yield from _section(
            "Not determined", ((f"{n}.", each) for n, each in enumerate(lineage.problems, 1))
        )


def _data(lineage: Lineage) -> dict[str, object]:
    revision = lineage.dataset
    if revision is None:
        return {"baseline": lineage.baseline, "run id": lineage.run_id, "folder": lineage.folder}
    commit, conversations = revision.git_commit, counted(revision.conversations, "conversation")
    return {
        "baseline": lineage.baseline,
        "run id": lineage.run_id,
        "folder": lineage.folder,
        "dataset": f"{revision.path}, {conversations}, {revision.bytes:,} bytes",
        "sha256": revision.sha256,
        "git commit": f"{commit}{_state(revision.git_dirty)}"
        if commit
        else f"none, the file was never committed; last changed {revision.mtime}",
    }


def _state(dirty: bool | None) -> str:
    return {True: ", changed since", False: ", unchanged", None: ""}[dirty]


def _configuration(lineage: Lineage) -> dict[str, object]:
    if lineage.config_path is None:
        return {}
    prompts = {f"prompt {role}": sha256 for role, sha256 in lineage.prompts.items()}
    return {"file": lineage.config_path, "sha256": f"{lineage.config_sha256}…", **prompts}


def _software(lineage: Lineage) -> dict[str, object]:
    commit = lineage.git_commit
    return {**lineage.software, "git commit": f"{commit}{_state(lineage.git_dirty)}" if commit else "none"}


def _dagster(lineage: Lineage) -> Iterator[tuple[str, str]]:
    records = lineage.dagster
    if records is None:
        return
    for run in records.runs:
        yield f"run, {run.job}", f"{run.run_id} {run.status.lower()}, {run.started or 'never started'}"
    for each in records.materializations:
        yield each.asset, f"{each.at}, {f'run {each.run_id[:_SHORT]}' if each.run_id else 'by a command'}"
    if not records.materializations:
        yield "assets", "none: made without Dagster, or on another instance"


def _telemetry(lineage: Lineage) -> dict[str, str]:
    sessions = lineage.telemetry_sessions
    if sessions is None:
        return {}
    ids = sorted(sessions.values())
    more = f" and {len(ids) - _MOST_IDS:,} more" if len(ids) > _MOST_IDS else ""
    listed = ", ".join(map(str, ids[:_MOST_IDS]))
    return {"sessions": f"{len(ids):,}", "ids": f"{listed}{more}" if ids else NOTHING}


def _files(lineage: Lineage) -> Section:
    return Section(
        "Files", tuple(f"  {each.name}, {each.bytes:,} bytes\n    {each.sha256}" for each in lineage.files)
    )


def _section(title: str, rows: Mapping[str, object] | Iterable[tuple[str, Any]]) -> Iterator[Section]:
    """Yield the section, unless it would be empty."""
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    texts = [(name, None if value is None else str(value)) for name, value in pairs]
    if texts:
        yield Section(title, (Table.pairs(texts),))


def verification_blocks(verification: Verification) -> Iterator[Block]:
    """Yield what was computed again, and what is wrong."""
    checks = [
        f"  {'✓' if check.problem is None else '✗'} {check.file}: {check.what}"
        for check in verification.checks
    ]
    problems = [strong(f"  {check.problem}") for check in verification.checks if check.problem is not None]
    yield Section("Verified", (*checks, *problems, *(note(f"  {each}") for each in verification.notes)))
