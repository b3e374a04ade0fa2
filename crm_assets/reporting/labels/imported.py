"""A CSV file with people's labels, read back: all of it or nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from crm_assets.errors import InputError
from crm_assets.records import SessionLog
from crm_assets.reporting.formats import counted
from crm_assets.reporting.labels.store import Label, Word, identifier, read_labels, write_labels
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["Imported", "import_labels"]

_WORDS: Final[Mapping[str, Word]] = {
    **dict.fromkeys(("yes", "y", "true", "1"), "yes"),
    **dict.fromkeys(("no", "n", "false", "0"), "no"),
    **dict.fromkeys(("unsure", "?"), "unsure"),
}
_NEEDED = ("id", "label")
_DELIMITERS = ",;\t"  # a spreadsheet in some languages saves the second one
_LARGEST_CELL = 1 << 24


class Imported(NamedTuple):
    """Counts of an import."""

    labels: int
    """Labels in the file."""
    new: int
    """Those that the baseline did not have."""
    changed: int
    """Those that it had otherwise."""
    empty: int
    """Rows without a label."""


class _LabelRow(NamedTuple):
    number: int
    """As a spreadsheet counts: the header is row 1."""
    id: str
    label: str
    note: str


def import_labels(paths: BaselinePaths, file: Path, *, replace: bool = False) -> Imported:
    """Take the labels of a CSV file into a baseline's labels.json; those it has besides stay.

    Args:
        paths: a finished baseline's.
        file: the CSV file.
        replace: let the file's labels replace different ones.

    Raises:
        InputError: the file cannot be read; a row has an ID that is not of this run, or twice, or a
            label other than yes, no, unsure; labels would be replaced. Nothing was imported.
        InfrastructureError: the disk refused.
    """
    rows = list(_read(file))
    given = _labels(file, rows)
    if not given:
        raise InputError(
            f"{file} has no label: write yes, no or unsure into the column label, and import it again."
        )
    _refuse_unknown(paths, file, {row.id: row.number for row in rows if row.id in given})
    stored = read_labels(paths)
    known = {key: stored.labels[key] for key in given if key in stored.labels}
    changed = [key for key, label in known.items() if label != given[key]]
    words = [key for key in changed if known[key].label != given[key].label]
    if words and not replace:
        key = words[0]
        raise InputError(
            f"{file} changes {counted(len(words), 'label')} (e.g. {key} from {known[key].label} to "
            f"{given[key].label}); add --replace to take the file's. Nothing was imported."
        )
    write_labels(paths, stored.model_copy(update={"labels": {**stored.labels, **given}}))
    return Imported(len(given), len(given) - len(known), len(changed), len(rows) - len(given))


def _read(file: Path) -> Iterator[_LabelRow]:
    csv.field_size_limit(_LARGEST_CELL)  # a transcript may be longer than the default
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            header = handle.readline()
            delimiter = max(_DELIMITERS, key=header.count)
            handle.seek(0)
            table = csv.DictReader(handle, delimiter=delimiter)
            names = {name.strip().lower(): name for name in table.fieldnames or () if name}
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                raise InputError(
                    f"{file} has no column {' and no column '.join(missing)} in its first row."
                )
            for number, row in enumerate(table, 2):
                cells = {name: (row.get(column) or "").strip() for name, column in names.items()}
                yield _LabelRow(number, cells["id"], cells["label"], cells.get("note", ""))
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8; save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"{file} is not CSV ({error}); save it as CSV in UTF-8.") from error


def _labels(file: Path, rows: list[_LabelRow]) -> dict[str, Label]:
    """Return the labels by ID; rows without one are left out."""
    found: dict[str, Label] = {}
    wrong: list[tuple[int, str]] = []
    for row in rows:
        word = _WORDS.get(row.label.lower())
        if row.label and word is None:
            wrong.append((row.number, f"label {row.label!r} is none of yes, no, unsure"))
        elif row.label and not row.id:
            wrong.append((row.number, "a label without an ID"))
        elif word is not None and row.id in found:
            wrong.append((row.number, f"ID {row.id!r} has a label in an earlier row"))
        elif word is not None:
            found[row.id] = Label(label=word, note=row.note)
    _refuse(file, wrong)
    return found


def _refuse_unknown(paths: BaselinePaths, file: Path, rows: Mapping[str, int]) -> None:
    missing = dict(rows)
    for entry in SessionLog(paths.sessions).summaries():
        session = entry.session
        if session.ran is not None:
            missing.pop(identifier(session), None)
            for turn in session.ran.per_turn_results:
                missing.pop(identifier(session, turn.turn_id), None)
    known = f"no finished session or turn of baseline {paths.key}"
    _refuse(file, [(number, f"ID {key!r} is {known}") for key, number in missing.items()])


def _refuse(file: Path, wrong: list[tuple[int, str]]) -> None:
    if not wrong:
        return
    number, what = wrong[0]
    more = f" (and {counted(len(wrong) - 1, 'more row')} like it)" if wrong[1:] else ""
    raise InputError(
        f"{file}, row {number}: {what}{more}; correct it and import again. Nothing was imported."
    )
