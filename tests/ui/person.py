"""What a person does in the UI: choose partitions, launch, wait, look at metadata."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from playwright.sync_api import Locator, Page, expect

from tests.waiting import HANG_SECONDS

GROUP_PAGE = "/locations/crm_assets/asset-groups"
JOB_PAGE = "/locations/crm_assets/jobs"

_NOTHING_CHOSEN = "Select a partition or create one"
_RUN_PATIENCE = HANG_SECONDS * 1000  # milliseconds
_LOOK_SECONDS = 0.5


def open_materialize(page: Page) -> Locator:
    """Press the button that materializes all that the page shows; returns the dialog."""
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog").filter(has_text="Partition selection")
    dialog.wait_for()
    return dialog


def add_runs(page: Page, dialog: Locator, keys: Sequence[str]) -> Locator:
    """Make new keys of the dimension `run`, which comes after `dataset`; returns the dialog to go on in.

    That is a fresh one: the picker of this Dagster may or may not have chosen a key that was just added,
    and may say that it could not find it.
    """
    for key in keys:
        dialog.get_by_text("Add a partition", exact=True).nth(1).click()
        name = page.get_by_placeholder("name")
        name.fill(key)
        with page.expect_response(lambda answer: "AddDynamicPartition" in (answer.request.post_data or "")):
            page.get_by_role("button", name="Save").click()
        page.reload()
        dialog = open_materialize(page)
    return dialog


def choose(page: Page, dialog: Locator, keys: Sequence[str]) -> None:
    """Choose `keys` of the first dimension that nothing is chosen of yet."""
    dialog.get_by_text(_NOTHING_CHOSEN).first.click()
    for key in keys:
        page.get_by_role("menuitem", name=re.compile(rf"^{re.escape(key)}\b")).click()
    page.keyboard.press("Escape")


def launched(page: Page, dialog: Locator, button: re.Pattern[str]) -> str:
    """Press the dialog's `button`, and go to what was launched; returns its ID."""
    dialog.get_by_role("button", name=button).click()
    link = page.get_by_role("link", name="View", exact=True)
    link.wait_for()
    target = str(link.get_attribute("href"))
    link.click()
    page.wait_for_url(re.compile(re.escape(target)))
    return target.rsplit("/", 1)[-1]


def wait_for_success(page: Page) -> None:
    """Until the page of a run says that it went well; at once where it did not."""
    ended = page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first
    ended.wait_for(timeout=_RUN_PATIENCE)
    expect(ended).to_have_text("Success")


def row(page: Page, name: str) -> Locator:
    """The row of an asset's metadata that is called `name`."""
    return page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True)).first


def show_markdown(page: Page, name: str) -> Locator:
    """Open the Markdown in the metadata called `name`; returns the dialog."""
    row(page, name).get_by_text("[Show Markdown]").click()
    dialog = page.get_by_role("dialog").filter(has=page.get_by_text(name, exact=True))
    dialog.wait_for()
    return dialog


def close(page: Page, dialog: Locator) -> None:
    """Close a dialog that shows something."""
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="detached")


def picture_width(dialog: Locator) -> int:
    """Natural width, in pixels, of the picture in a dialog; 0 if it did not load."""
    picture = dialog.get_by_role("img").last
    picture.wait_for()
    return int(picture.evaluate("image => image.decode().then(() => image.naturalWidth)"))


def node(page: Page, asset: str) -> Locator:
    """An asset in the graph, with what is written on and below it."""
    return page.locator("foreignObject").filter(has=page.get_by_text(asset, exact=True)).first


def wait_for_backfill(page: Page) -> None:
    """Until the page of a backfill says that it is through; at once where it did not go well."""
    status = page.get_by_text("Status", exact=True).first.locator("xpath=..")
    ended = re.compile("Succeeded|Failed|Cancel")
    expect(status).to_contain_text(ended, timeout=_RUN_PATIENCE)
    expect(status).to_contain_text("Succeeded")


def reload_until(page: Page, shown: Callable[[], bool]) -> None:
    """Look at the page again and again until `shown`."""
    give_up = time.monotonic() + HANG_SECONDS
    page.wait_for_load_state("networkidle")
    while not shown():
        assert time.monotonic() < give_up, "it was never shown"
        time.sleep(_LOOK_SECONDS)
        page.reload()
        page.wait_for_load_state("networkidle")
