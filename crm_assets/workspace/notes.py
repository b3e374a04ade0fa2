"""What people note of a run, beside its folder: a note is no result, so the manifest does not cover it.

Each note and each change of tags is a line of its own: nothing is lost if two people write at once.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from crm_assets.errors import InputError, first_line
from crm_assets.workspace.baseline_files import BaselinePaths, is_planned
from crm_assets.workspace.files import json_line
from crm_assets.workspace.git import ask_git
from crm_assets.workspace.jsonl import append_line, read_lines
from crm_assets.workspace.keys import is_name

__all__ = ["RunNote", "RunNotes", "add_note", "author_here", "read_notes"]


class RunNote(BaseModel):
    """A line of notes.jsonl."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    """Version of this layout."""
    at: str
    """When it was written: ISO 8601, UTC."""
    author: str
    """Who wrote it."""
    text: str = ""
    """The note; empty if only tags changed."""
    tagged: tuple[str, ...] = ()
    """Tags that were added."""
    untagged: tuple[str, ...] = ()
    """Tags that were removed."""


@dataclass(frozen=True)
class RunNotes:
    """All that was noted of a run."""

    lines: tuple[RunNote, ...] = ()
    """Oldest first."""

    @property
    def notes(self) -> tuple[RunNote, ...]:
        """Return the lines with a text."""
        return tuple(line for line in self.lines if line.text)

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the run's tags, in the order in which they were added."""
        found: dict[str, None] = {}
        for line in self.lines:
            for tag in line.untagged:
                found.pop(tag, None)
            found.update(dict.fromkeys(line.tagged))
        return tuple(found)


def read_notes(paths: BaselinePaths) -> RunNotes:
    """Return what was noted of a run; without a file, nothing.

    Raises:
        InputError: a line is not a note.
    """
    return RunNotes(tuple(_lines(paths.notes)))


def _lines(path: Path) -> Iterator[RunNote]:
    if not path.is_file():
        return
    for line in read_lines(path):
        try:
            yield RunNote.model_validate_json(line.data)
        except ValidationError as error:
            raise InputError(
                f"{path}, line {line.number}: {first_line(error)}; remove the line."
            ) from error


def add_note(
    paths: BaselinePaths,
    text: str = "",
    *,
    tag: Sequence[str] = (),
    untag: Sequence[str] = (),
    author: str,
) -> RunNotes:
    """Add a note to a run, change its tags, or both; return all that is noted of it then.

    Args:
        paths: the run's; planned, under way or finished.
        text: the note; empty for none.
        tag: tags to add; those that the run has are left as they are.
        untag: tags to remove.
        author: who writes.

    Raises:
        InputError: there is no such run, a tag has another form than a dataset's key, or one to remove is
            not there.
        InfrastructureError: the disk refused.
    """
    if not is_planned(paths):
        raise InputError(
            f"There is no run {paths.key.run} of dataset {paths.key.dataset}; "
            f"`crm-assets runs list --dataset {paths.key.dataset}` shows those that there are."
        )
    for name in tag:
        if not is_name(name):
            raise InputError(f"{name!r} is not a tag: use lower-case letters, digits, '_' and '-' only.")
    known = read_notes(paths)
    for name in untag:
        if name not in known.tags:
            has = ", ".join(known.tags) or "none"
            raise InputError(f"Run {paths.key.run} has no tag {name!r}; its tags: {has}.")
    note = RunNote(
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        author=author,
        text=text.strip(),
        tagged=tuple(name for name in dict.fromkeys(tag) if name not in known.tags or name in untag),
        untagged=tuple(untag),
    )
    if note.text or note.tagged or note.untagged:
        line = json_line(note.model_dump(mode="json"))
        if copies := paths.copies:
            copies.update(paths.notes, lambda: append_line(paths.notes, line))
        else:
            append_line(paths.notes, line)
    return read_notes(paths)


def author_here(folder: Path) -> str:
    """Return who works here: git's `user.name`, else the user's login."""
    name = ask_git(folder, "config", "user.name")
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container may run as a user without a name
        raise InputError("Your name is not known here; give it by --author.") from error
