"""metrics.json and README.md made again from sessions.jsonl, by the code that made them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from crm_assets.conversations import DatasetRevision
from crm_assets.reporting import (
    Metrics,
    baseline_run_info,
    compute_metrics,
    render_readme,
    with_pictures,
    write_metrics,
)
from crm_assets.reporting.formats import counted
from crm_assets.reporting.models import REDEFINED_SINCE_1
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.project import Project

__all__ = ["differing_figures", "differing_lines", "recompute_metrics", "recompute_readme"]

_PICTURES = Path("plots")  # beside the README
_MOST_SHOWN = 3
_LONG = 60


def recompute_metrics(project: Project, paths: BaselinePaths, revision: DatasetRevision) -> Metrics:
    """Compute the metrics of a baseline from its sessions.

    With what metrics.json says it was computed with: the versions here may be others by now.

    Raises:
        InputError: the sessions cannot be read, or are of another run.
    """
    info = baseline_run_info(project, paths, revision, _recorded_software(paths.metrics))
    return compute_metrics(paths.sessions, run=info)


def _recorded_software(path: Path) -> dict[str, str]:
    try:
        software = orjson.loads(path.read_bytes())["software"]
        return {str(name): str(version) for name, version in software.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a file that is damaged like this differs from any that can be made


def recompute_readme(metrics: Metrics, revision: DatasetRevision) -> str:
    """Render the README of a baseline with these metrics, its pictures' descriptions included.

    Raises:
        InputError: the revision is that of another state of the dataset.
    """
    from crm_assets.reporting.plots import PictureFile, captions  # noqa: PLC0415

    text = render_readme(metrics, revision=revision.model_dump(mode="json"))
    pictures = [
        PictureFile(name, _PICTURES / f"{name}.svg", caption) for name, caption in captions(metrics).items()
    ]
    return with_pictures(text, pictures)


def differing_figures(path: Path, expected: Metrics, *, exactly: bool) -> str | None:
    """Return where the metrics in `path` are not the expected ones, in words; None where they are.

    Args:
        path: a metrics.json.
        expected: the metrics that follow from the sessions.
        exactly: to the byte; else figures that `path` does not have, because they came later, are left out,
            and so are those that its version computed otherwise.

    Raises:
        OSError: the file cannot be read.
    """
    recorded = path.read_bytes()
    with TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        write_metrics(written, expected)
        right = written.read_bytes()
    if recorded == right:
        return None
    try:
        found, wanted = (dict(_leaves(orjson.loads(content))) for content in (recorded, right))
    except orjson.JSONDecodeError as error:
        return f"is no JSON ({error})"
    known = (*found, *wanted) if exactly else _comparable(found)
    names = [name for name in dict.fromkeys(known) if found.get(name) != wanted.get(name)]
    if not names and not exactly:
        return None
    if not names:
        return "holds the right figures, but is not written as they are"
    shown = "; ".join(
        f"{name} is {_short(found.get(name))}, and from the sessions it is {_short(wanted.get(name))}"
        for name in names[:_MOST_SHOWN]
    )
    return f"differs in {counted(len(names), 'figure')}: {shown}"


def _comparable(found: Mapping[str, Any]) -> list[str]:
    """Return the figures of a file of any version that today's formulas give, too."""
    if found.get("schema_version") != 1:
        return list(found)
    if "repeats.epochs" not in found:
        return [name for name in found if name != "schema_version"]
    figures = {*REDEFINED_SINCE_1, "schema_version"}
    intervals = ("low", "high", "effective_count")
    return [
        name
        for name in found
        if re.split(r"[.\[]", name, maxsplit=1)[0] not in figures and not name.endswith(intervals)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def differing_lines(path: Path, expected: str) -> str | None:
    """Return which lines of the text in `path` are not the expected ones; None if every byte is the same.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    if content == expected.encode():
        return None
    found, wanted = (text.split("\n") for text in (content.decode(errors="replace"), expected))
    changes = [
        change
        for change in difflib.SequenceMatcher(None, found, wanted, autojunk=False).get_opcodes()
        if change[0] != "equal"
    ]
    if not changes:
        return "is not written as it should be"
    count = sum(max(end - start, other_end - other) for _, start, end, other, other_end in changes)
    shown = "; ".join(
        _change(start, found[start:end], wanted[other:other_end])
        for _, start, end, other, other_end in changes[:_MOST_SHOWN]
    )
    return f"differs in {counted(count, 'line')}: {shown}"


def _change(start: int, found: list[str], wanted: list[str]) -> str:
    reads = _short(found[0]) if found else "missing"
    should = _short(wanted[0]) if wanted else "nothing"
    return f"line {start + 1} reads {reads}, and should read {should}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
