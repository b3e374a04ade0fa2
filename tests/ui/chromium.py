"""A chromium that is on the machine, driven by Playwright; never one that Playwright would download."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

PATIENCE = 300.0
"""Seconds that a page may take to show what it should: only one that never does takes so long."""

NAMES = ("chromium", "chromium-browser", "google-chrome")

_ARGUMENTS = (
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """The path of a chromium: the one that CHROMIUM names, else the first on the PATH."""
    named = os.environ.get("CHROMIUM")
    candidates = (named,) if named else NAMES
    return next((path for name in candidates if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Viewer:
    """Opens pages of one server, each as if for the first time."""

    browser: Browser
    address: str

    @contextmanager
    def page(
        self,
        path: str | None,
        *,
        width: int = 1400,
        height: int = 900,
        scheme: Literal["light", "dark"] = "light",
    ) -> Iterator[Page]:
        """A page at `path`, blank without one; a failure while it is open is told with a picture of it."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
        )
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        try:
            if path is not None:
                page.goto(self.address + path)
            yield page
        except Exception as error:  # whatever it is, the picture says more than the message
            reason = str(error).partition("Call log:")[0].strip()
            raise AssertionError(f"{reason}\nIt showed {_pictured(page)} at {page.url}") from error
        finally:
            context.close()


@contextmanager
def viewer(executable: str, address: str) -> Iterator[Viewer]:
    """A browser for the server at `address`."""
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_ARGUMENTS))
        try:
            yield Viewer(browser, address)
        finally:
            browser.close()


def _pictured(page: Page) -> Path:
    picture = Path(tempfile.mkdtemp(prefix="crm-ui-")) / "page.png"
    page.screenshot(path=picture)
    return picture
