"""Transcripts as a folder of static files: Inspect's viewer, the logs, and the report that links into them.

Any web server shows it, also one without a program behind it (CI artifacts, object stores, pages of a
repository).
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from crm_assets.conversations.revision import read_revision_file
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.exports.inspect_log import write_inspect_log
from crm_assets.exports.inspect_package import viewer_files
from crm_assets.reporting.metrics import read_metrics
from crm_assets.reporting.plots import draw
from crm_assets.reporting.report import render_report
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_text

__all__ = ["write_bundle"]


def write_bundle(
    paths: BaselinePaths,
    folder: Path,
    *,
    against: BaselinePaths | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Write the transcripts of a finished baseline as a static site, with its report as `report.html`.

    Args:
        paths: of the baseline.
        folder: the site; it appears when it is complete, and must not be there yet.
        against: a run that its conversations are compared with; its transcripts are there, too.
        progress: called with the number of sessions written so far.

    Returns:
        The number of the baseline's samples.

    Raises:
        InputError: Inspect is not installed, the folder is there, or a file of the baseline cannot be read.
        InfrastructureError: a file cannot be written.
    """
    viewer_files()  # is there
    if folder.exists():
        raise InputError(f"{folder} is there already: remove it, or name another folder.")
    log = f"{paths.key.run}.eval"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            logs, site = Path(scratch) / "logs", Path(scratch) / "site"
            samples = write_inspect_log(paths, logs / log, against=against, progress=progress)
            if against is not None:
                write_inspect_log(against, logs / f"{against.key.run}.eval")
            _bundle(logs, site)
            write_text(site / "report.html", _report(paths, log))
            os.rename(site, folder)
    except OSError as error:
        raise InfrastructureError(
            f"Could not write {folder}: {error.strerror or error}; free some space or choose another "
            "folder, then run it again."
        ) from error
    return samples


def _bundle(logs: Path, site: Path) -> None:
    from inspect_ai.log import bundle_log_dir  # noqa: PLC0415  (takes seconds)

    with contextlib.redirect_stdout(io.StringIO()):  # it names our temporary folders
        bundle_log_dir(str(logs), str(site))


def _report(paths: BaselinePaths, log: str) -> str:
    metrics = read_metrics(paths.metrics)
    revision = read_revision_file(paths.revision).model_dump(mode="json")
    return render_report(metrics, revision, draw(metrics), baseline=paths.key, bundled=log)
