"""Tables of a comparison's page, sorted in a real browser by a click."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_assets.reporting import html
from crm_assets.reporting.document import Column, Document, Section, Span, Table

from .chromium import viewer

pytestmark = pytest.mark.whole

ROWS = (
    ("c-10", "10.5%", Span("✓", "good")),
    ("c-2", "−3.0", Span("✗", "bad")),
    ("c-1", "–", Span("–", "note")),
    ("c-3", "1,000", Span("50.0%", "mixed")),
)


def test_a_click_sorts_by_number_and_another_one_turns_the_order_around(
    chromium: str, tmp_path: Path
) -> None:
    columns = (Column("Name", "code"), Column("Figure", "figure"), Column("A", "heat"))
    table = Table.of(columns, ROWS, sortable=True)
    (tmp_path / "page.html").write_text(html.render(Document("Sorted", (), (Section("Table", (table,)),))))
    with viewer(chromium, f"file://{tmp_path}") as view, view.page("/page.html") as page:

        def names() -> list[str]:
            return page.locator("tbody th").all_inner_texts()

        assert names() == ["c-10", "c-2", "c-1", "c-3"]
        page.get_by_role("button", name="Figure").click()
        assert names() == ["c-1", "c-2", "c-10", "c-3"]
        page.get_by_role("button", name="Figure").click()
        assert names() == ["c-3", "c-10", "c-2", "c-1"]
        page.get_by_role("button", name="A", exact=True).click()
        assert names() == ["c-1", "c-2", "c-3", "c-10"]
        page.get_by_role("button", name="Name").click()
        assert names() == ["c-1", "c-2", "c-3", "c-10"]
        assert page.locator("th[aria-sort]").count() == 1
