"""Render a learning state as the block before a system prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from crm_assets.atlas.playbook.gates import one_line
from crm_assets.atlas.playbook.learning_state import Audience, LearningState, PlaybookEntry

__all__ = ["LONGEST_BLOCK", "by_merit", "render_playbook", "shown_entries"]

LONGEST_BLOCK = 1_000
"""Maximum characters of a block, including its markers."""

_MARKER = re.compile(">{3,}")
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s")


def render_playbook(state: LearningState, audience: Audience, *, limit: int = LONGEST_BLOCK) -> str | None:
    """Return the pamphlet of `audience` and its best entries between markers; None without any.

    Only whole lines (or whole sentences of a long line) are shown, at most `limit` characters in all.
    Learned text cannot end the block or open another one.
    """
    lines, entries = _contents(state, audience, limit)
    if not lines and not entries:
        return None
    first, last = _markers(audience)
    return "\n".join([first, *lines, *entries.values(), last])


def shown_entries(
    state: LearningState, audience: Audience, *, limit: int = LONGEST_BLOCK
) -> tuple[PlaybookEntry, ...]:
    """Return the entries that `render_playbook` shows, best first."""
    shown = _contents(state, audience, limit)[1]
    return tuple(entry for entry in by_merit(state.entries) if entry.id in shown)


def by_merit(entries: Iterable[PlaybookEntry]) -> list[PlaybookEntry]:
    """Sort entries: highest weighted score first, then most used, then oldest."""
    return sorted(
        entries,
        key=lambda entry: (
            -(entry.rubric.weighted if entry.rubric else 0.0),
            -entry.impact.action_adoptions,
            -entry.impact.cue_hits,
        ),
    )


def _contents(state: LearningState, audience: Audience, limit: int) -> tuple[list[str], dict[str, str]]:
    """Return the lines of the pamphlet, and of entries by ID, that fit."""
    room = limit - sum(len(marker) for marker in _markers(audience)) - 1
    entries = {
        entry.id: _line(entry)
        for entry in by_merit(state.entries)
        if entry.audience == audience and entry.provenance.lifecycle == "active"
    }
    wanted = sum(len(line) + 1 for line in entries.values())
    pamphlet = state.student_learning if audience == "student" else state.teacher_learning
    # Each of pamphlet and entries gets half of the room, and what the other does not need.
    lines = list(_fitting(_pamphlet_lines(pamphlet or ""), max(room // 2, room - wanted)))
    room -= sum(len(line) + 1 for line in lines)
    shown = {}
    for name, line in entries.items():
        if len(line) < room:
            shown[name] = line
            room -= len(line) + 1
    return lines, shown


def _markers(audience: Audience) -> tuple[str, str]:
    name = f"{audience.capitalize()} Playbook"
    return f">>> {name} >>>", f">>> End {name} >>>"


def _line(entry: PlaybookEntry) -> str:
    cue = entry.cue.description or entry.cue.pattern if entry.cue.type == "predicate" else entry.cue.pattern
    quoted = _harmless(cue).replace("«", "‹").replace("»", "›")
    handle = entry.action.runtime_handle
    tool = f" [tool: {_harmless(handle)}]" if handle else ""
    return f"- When «{quoted}»: {_harmless(entry.action.imperative)}{tool}"


def _pamphlet_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        harmless = _harmless(line)
        if harmless:
            yield harmless


def _fitting(lines: Iterable[str], room: int) -> Iterator[str]:
    """Yield the first lines that fit, each with its line end, then the fitting sentences of the next."""
    for line in lines:
        ends = [len(line), *(end.start() for end in reversed(list(_SENTENCE_END.finditer(line))))]
        end = next((end for end in ends if end < room), 0)
        if end:
            yield line[:end]
        if end < len(line):
            return
        room -= end + 1


def _harmless(text: str) -> str:
    """Return `text` in one line, without markers of prompt blocks."""
    marked = _MARKER.sub(lambda found: "›" * len(found.group()), one_line(text))
    return marked.replace("```", "'''")
