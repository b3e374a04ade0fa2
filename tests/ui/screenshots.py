"""Takes the pictures of docs/images: `python -m tests.ui.screenshots [FOLDER]`.

Of the dataset `dev`, run by the student alone and then by the Atlas loop, both with the offline models.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from playwright.sync_api import Page

from crm_assets.workspace.project import Project
from tests.projects import REPOSITORY

from . import person
from .chromium import Viewer, find_chromium, viewer
from .serving import crm_assets, own_project, served

_SETTLED = 1500  # milliseconds until nothing moves any more
_MOST_BYTES = 300_000


def main() -> None:
    """Make the runs, serve them, and take every picture."""
    parser = argparse.ArgumentParser(prog="python -m tests.ui.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=REPOSITORY / "docs" / "images")
    folder = parser.parse_args().folder
    chromium = find_chromium()
    if chromium is None:
        parser.error("no browser was found: scripts/install-browser gets one")
    folder.mkdir(parents=True, exist_ok=True)
    with own_project() as project:
        atlas = _make_runs(project)
        with served(project) as address, viewer(chromium, address) as view:
            for name, take in _PICTURES.items():
                target = folder / f"{name}.png"
                take(view, atlas, target)
                size = target.stat().st_size
                assert size < _MOST_BYTES, f"{target} has {size:,} bytes"
                print(f"{target}: {size:,} bytes")  # noqa: T201


def _make_runs(project: Project) -> str:
    """Run `dev` twice; returns Dagster's ID of the second run."""
    shutil.copy(REPOSITORY / "data" / "conversations" / "dev.jsonl", project.conversations)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    printed = ""
    for hours, agent in ((2, "student"), (1, "atlas")):
        key = f"{now - timedelta(hours=hours):%Y%m%dT%H%M%SZ}-{agent}"
        printed = crm_assets(project, "baseline", "--dataset", "dev", "--run", key, "--agent", agent)
    return printed.strip().rsplit("/runs/", 1)[-1]


def _shoot(page: Page, target: Path) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(_SETTLED)
    page.screenshot(path=target)


def _graph(view: Viewer, run_id: str, target: Path) -> None:
    # So wide that the assets are drawn with what is known of them, not as names alone.
    with view.page(f"{person.GROUP_PAGE}/baseline", width=1800, height=560) as page:
        page.get_by_text("Hide navigation").click()
        page.reload()  # the graph fits itself to the room that it has now
        person.node(page, "baseline_metrics").wait_for()
        _shoot(page, target)


def _run(view: Viewer, run_id: str, target: Path) -> None:
    with view.page(f"/runs/{run_id}", width=1600, height=1200) as page:
        person.wait_for_success(page)
        page.get_by_text("Hide navigation").click()
        page.get_by_placeholder("Filter…").fill("type:ASSET_CHECK_EVALUATION")
        _shoot(page, target)


def _metrics(view: Viewer, run_id: str, target: Path) -> None:
    with view.page("/assets/baseline_metrics", width=1600, height=1300) as page:
        page.get_by_text("Hide navigation").click()
        person.row(page, "headline").wait_for()
        _shoot(page, target)


def _readme(view: Viewer, run_id: str, target: Path) -> None:
    with view.page("/assets/baseline_readme", height=1000) as page:
        readme = person.show_markdown(page, "readme")
        readme.get_by_role("heading", name="What ran").scroll_into_view_if_needed()
        page.wait_for_timeout(_SETTLED)
        page.evaluate("for (const e of document.querySelectorAll('*')) e.scrollTop = 0")
        _shoot(page, target)


def _history(view: Viewer, run_id: str, target: Path) -> None:
    with view.page("/assets/baseline_history", width=1600, height=1000) as page:
        page.get_by_text("Hide navigation").click()
        person.row(page, "table").get_by_role("table").wait_for()
        _shoot(page, target)


def _progression(view: Viewer, run_id: str, target: Path) -> None:
    with view.page("/assets/baseline_history", height=700) as page:
        picture = person.show_markdown(page, "progression")
        assert person.picture_width(picture) > 0
        _shoot(page, target)


_PICTURES: dict[str, Callable[[Viewer, str, Path], None]] = {
    "graph": _graph,
    "run": _run,
    "metrics": _metrics,
    "readme": _readme,
    "history": _history,
    "progression": _progression,
}

if __name__ == "__main__":
    main()
