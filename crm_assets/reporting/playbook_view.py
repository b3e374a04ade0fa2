"""Playbooks for a terminal: what one holds, and what differs between two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crm_assets.reporting.document import Block, Column, Section, Table, figures
from crm_assets.reporting.formats import counted, plain

if TYPE_CHECKING:
    from crm_assets.atlas.playbook import LearningState, Playbook, PlaybookEntry

__all__ = ["KeyDifference", "difference_blocks", "playbook_blocks", "playbook_difference"]

_SHORT = 12  # characters of a key or hash


def playbook_blocks(playbook: Playbook, *, entries: bool) -> Iterator[Block]:
    """Yield the keys of a playbook, with their pamphlets and entries if `entries`."""
    rows = (
        (key[:_SHORT], len(state.entries), state.version, state.sessions)
        for key, state in playbook.keys.items()
    )
    count = counted(playbook.entries, "entry", "entries")
    yield Section(
        f"{playbook.namespace}: {count}, version {playbook.version}, {playbook.sha256[:_SHORT]}",
        (Table.of((Column("Learning key", "code"), *figures("Entries", "Version", "Sessions")), rows),),
    )
    if not entries:
        return
    for key, state in playbook.keys.items():
        lines = [*_pamphlets(state), *map(_entry, state.entries)]
        if lines:
            yield Section(key[:_SHORT], tuple(lines))


def difference_blocks(a: Playbook, b: Playbook) -> Iterator[Block]:
    """Yield what `b` holds and `a` does not, and the reverse, by learning key."""
    if a.sha256 == b.sha256:
        yield "The playbooks are the same."
        return
    changed = playbook_difference(a, b)
    for each in changed:
        lines = (*(f"- {line}" for line in each.only_before), *(f"+ {line}" for line in each.only_after))
        yield Section(each.learning_key[:_SHORT], lines)
    if not changed:
        yield "The same pamphlets and entries; only counts of their use differ."


@dataclass(frozen=True)
class KeyDifference:
    """The differences of two playbooks in one learning key: pamphlets and entries, a line each."""

    learning_key: str
    only_before: list[str]
    only_after: list[str]


def playbook_difference(a: Playbook, b: Playbook) -> list[KeyDifference]:
    """Return the learning keys whose pamphlets or entries differ between `a` (before) and `b` (after)."""
    found = []
    for key in sorted({*a.keys, *b.keys}):
        before, after = (list(_lines(each.keys.get(key))) for each in (a, b))
        gone = [line for line in before if line not in after]
        new = [line for line in after if line not in before]
        if gone or new:
            found.append(KeyDifference(key, gone, new))
    return found


def _lines(state: LearningState | None) -> Iterator[str]:
    if state is not None:
        yield from _pamphlets(state)
        yield from map(_entry, state.entries)


def _pamphlets(state: LearningState) -> Iterator[str]:
    for audience, text in (("student", state.student_learning), ("teacher", state.teacher_learning)):
        if text:
            yield f"{audience} pamphlet: {plain(text)}"


def _entry(entry: PlaybookEntry) -> str:
    tool = f" [{entry.action.runtime_handle}]" if entry.action.runtime_handle else ""
    return (
        f"{entry.id}, {entry.audience}: when {entry.cue.type} {plain(entry.cue.pattern)}: "
        f"{plain(entry.action.imperative)}{tool}"
    )
