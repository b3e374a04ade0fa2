"""Pictures as files beside a page, and inside Markdown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crm_assets.reporting.document import Figure
from crm_assets.reporting.markdown import image
from crm_assets.reporting.plots.drawing import NAMES, Drawing
from crm_assets.workspace.files import write_text

__all__ = ["PictureFile", "markdown_image", "write_pictures"]


@dataclass(frozen=True)
class PictureFile:
    """A picture on disk."""

    name: str
    """One of `plots.NAMES`."""
    path: Path
    """The SVG file."""
    caption: str
    """Caption; plain text."""

    @property
    def figure(self) -> Figure:
        """Return the picture for a page beside the folder that it is in."""
        return Figure(self.name, self.caption, path=f"{self.path.parent.name}/{self.path.name}")


def write_pictures(folder: Path, drawings: Sequence[Drawing]) -> list[PictureFile]:
    """Write `drawings` to `folder` as SVG, each whole or not at all.

    Pictures of an earlier run that are not among these are removed; other files are left alone.

    Raises:
        InfrastructureError: the disk refused.
    """
    files = []
    for drawing in drawings:
        path = folder / f"{drawing.name}.svg"
        write_text(path, drawing.svg)
        files.append(PictureFile(drawing.name, path, drawing.caption))
    for name in {*NAMES}.difference(file.name for file in files):
        with suppress(FileNotFoundError):
            (folder / f"{name}.svg").unlink()
    return files


def markdown_image(png: bytes, caption: str = "") -> str:
    """Return a picture inside Markdown, as a data URI: for metadata, which has no files beside it."""
    return image(caption, f"data:image/png;base64,{base64.b64encode(png).decode()}")
