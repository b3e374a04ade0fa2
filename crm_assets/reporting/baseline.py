"""A baseline's figures and pages, made from its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.reporting.document import Section
from crm_assets.reporting.markdown import render_blocks
from crm_assets.reporting.models import Metrics, RunInfo
from crm_assets.reporting.readme import render_readme
from crm_assets.workspace.baseline_files import BaselinePaths, RunFiles
from crm_assets.workspace.files import write_text
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    from crm_assets.conversations import DatasetRevision
    from crm_assets.reporting.plots import Drawing, PictureFile

__all__ = ["baseline_run_info", "page_code", "with_pictures", "write_pages"]


def baseline_run_info(
    project: Project, paths: BaselinePaths, revision: DatasetRevision, software: Mapping[str, str]
) -> RunInfo:
    """Return the identity of a baseline's run, from where its files are.

    Args:
        project: the baseline's project.
        paths: its files.
        revision: of its dataset.
        software: versions that its metrics are computed with.
    """
    return RunInfo(
        run_id=paths.key.run_id,
        dataset=paths.key.dataset,
        dataset_revision=revision.sha256,
        conversations_path=revision.path,
        tasks_path=paths.tasks.relative_to(project.root).as_posix(),
        software=dict(software),
    )


def write_pages(
    files: RunFiles,
    metrics: Metrics,
    drawings: Sequence[Drawing],
    *,
    revision: Mapping[str, object] | None = None,
) -> str:
    """Write a run's README, its pictures, and the report; return the README without pictures.

    Raises:
        InputError: `revision` is of another state of the dataset.
        InfrastructureError: the disk refused.
    """
    from crm_assets.reporting.plots import write_pictures  # noqa: PLC0415  (heavy)
    from crm_assets.reporting.report import render_report  # noqa: PLC0415  (heavy)

    known = dict(revision or {})
    text = render_readme(metrics, revision=known)
    pictures = write_pictures(files.plots, drawings)
    key = files.key if isinstance(files, BaselinePaths) else None
    write_text(files.report, render_report(metrics, known, drawings, baseline=key))
    write_text(files.readme, with_pictures(text, pictures))
    return text


@cache
def page_code() -> str:
    """Return the hex SHA-256 of the code that writes pages: the same code, the same words."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def with_pictures(text: str, pictures: Sequence[PictureFile]) -> str:
    """Return a README with its pictures at the end."""
    if not pictures:
        return text
    section = Section("Pictures", tuple(picture.figure for picture in pictures))
    return f"{text}\n{render_blocks([section])}\n"
