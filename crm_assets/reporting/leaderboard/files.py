"""The files of a leaderboard: its figures, its pages, and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.reporting import html, markdown
from crm_assets.reporting.document import Figure
from crm_assets.reporting.leaderboard.models import Board
from crm_assets.reporting.leaderboard.page import board_document
from crm_assets.workspace.files import write_json, write_text
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    from crm_assets.reporting.plots import Drawing

__all__ = ["LeaderboardPaths", "write_board"]


@dataclass(frozen=True)
class LeaderboardPaths:
    """The files of one leaderboard."""

    folder: Path

    @classmethod
    def of(cls, project: Project, board: Board) -> LeaderboardPaths:
        """Return the files of a board: of one dataset beside its baselines, of several beside these."""
        if len(board.datasets) == 1:
            return cls(project.baselines / board.datasets[0] / "leaderboard")
        return cls(project.artifacts / "leaderboards" / "+".join(board.datasets))

    @property
    def document(self) -> Path:
        """Return the file with the figures."""
        return self.folder / "leaderboard.json"

    @property
    def readme(self) -> Path:
        """Return the page as Markdown."""
        return self.folder / "README.md"

    @property
    def report(self) -> Path:
        """Return the page as HTML, in one file."""
        return self.folder / "report.html"

    @property
    def plots(self) -> Path:
        """Return the folder of the README's picture."""
        return self.folder / "plots"


def write_board(project: Project, board: Board) -> tuple[LeaderboardPaths, Drawing | None]:
    """Write a board's files; return them, and the picture if there is one.

    Raises:
        InfrastructureError: the disk refused.
    """
    from crm_assets.reporting.plots import (  # noqa: PLC0415  (heavy)
        draw_pareto,
        inline_svg,
        write_pictures,
    )
    from crm_assets.reporting.plots.pareto import Priced  # noqa: PLC0415  (heavy)

    paths = LeaderboardPaths.of(project, board)
    drawings = draw_pareto(
        [
            Priced(each.label, each.cost_usd, each.strict_success, each.on_front)
            for each in board.systems
            if each.cost_usd is not None and each.strict_success.value is not None
        ]
    )
    drawing = drawings[0] if drawings else None
    picture = next((file.figure for file in write_pictures(paths.plots, drawings)), None)
    inline = Figure(drawing.name, drawing.caption, inline_svg(drawing)) if drawing else None
    write_text(paths.report, html.render(board_document(board, inline)))
    write_text(paths.readme, markdown.render(board_document(board, picture)))
    write_json(paths.document, board.model_dump(mode="json"))
    return paths, drawing
