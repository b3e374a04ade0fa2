"""What was learnt, as the block that stands before a system prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from crm_assets.atlas.playbook.gates import one_line
from crm_assets.atlas.playbook.learning_state import Audience, LearningState, PlaybookEntry

__all__ = ["LONGEST_BLOCK", "by_merit", "render_playbook", "shown_entries"]

LONGEST_BLOCK = 1_000
"""Characters of a block, its first and last line included."""

_MARKER = re.compile(">{3,}")
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s")


def render_playbook(state: LearningState, audience: Audience, *, limit: int = LONGEST_BLOCK) -> str | None:
    """The pamphlet of `audience` and the best of its entries, between markers; None without any.

    Only whole lines (of a pamphlet that is one long line: whole sentences) are shown, at most `limit`
    characters in all. Nothing that was learnt can end the block or open another one.
    """
    lines, entries = _contents(state, audience, limit)
    if not lines and not entries:
        return None
    first, last = _markers(audience)
    return "\n".join([first, *lines, *entries.values(), last])


def shown_entries(
    state: LearningState, audience: Audience, *, limit: int = LONGEST_BLOCK
) -> tuple[PlaybookEntry, ...]:
    """The entries that `render_playbook` has room for, best first."""
    shown = _contents(state, audience, limit)[1]
    return tuple(entry for entry in by_merit(state.entries) if entry.id in shown)


def by_merit(entries: Iterable[PlaybookEntry]) -> list[PlaybookEntry]:
    """Best first: by the weighted score, then by how often they were of use, then the oldest."""
    return sorted(
        entries,
        key=lambda entry: (
            -(entry.rubric.weighted if entry.rubric else 0.0),
            -entry.impact.action_adoptions,
            -entry.impact.cue_hits,
        ),
    )


def _contents(state: LearningState, audience: Audience, limit: int) -> tuple[list[str], dict[str, str]]:
    """The lines of the pamphlet, and those of entries by ID, that there is room for."""
    room = limit - sum(len(marker) for marker in _markers(audience)) - 1
    entries = {
        entry.id: _line(entry)
        for entry in by_merit(state.entries)
        if entry.audience == audience and entry.provenance.lifecycle == "active"
    }
    wanted = sum(len(line) + 1 for line in entries.values())
    pamphlet = state.student_learning if audience == "student" else state.teacher_learning
    # Entries may have half of the room, more if the pamphlet needs less, and the same the other way.
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
    """The first lines that fit, each with its line end; of the one that does not, the sentences that do."""
    for line in lines:
        ends = [len(line), *(end.start() for end in reversed(list(_SENTENCE_END.finditer(line))))]
        end = next((end for end in ends if end < room), 0)
        if end:
            yield line[:end]
        if end < len(line):
            return
        room -= end + 1


def _harmless(text: str) -> str:
    """`text` in one line, without what marks a block of a prompt."""
    marked = _MARKER.sub(lambda found: "›" * len(found.group()), one_line(text))
    return marked.replace("```", "'''")
