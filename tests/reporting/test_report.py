from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from crm_assets.errors import InputError
from crm_assets.reporting import Metrics
from crm_assets.reporting.plots import Drawing, draw
from crm_assets.reporting.report import render_report
from crm_assets.workspace.keys import BaselineKey

from .conftest import REVISION, Measure, failed_turn, replied, session, turn, unrun, whole_page

HOSTILE = (
    '<script>alert("1")</script><img src=x onerror=alert(2)> &lt;b&gt; ![x](http://e.x/y) </svg></table>'
)
VOID = {"meta", "br", "hr", "link", "img", "input"}


class Page(HTMLParser):
    """What a browser would make of it: elements, their attributes, and the text inside them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def inside(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]


def sessions(name: str) -> list[dict[str, Any]]:
    spent = {
        "token_usage": {name: {"prompt_tokens": 1200, "completion_tokens": 34}},
        "cost_usd": {name: 0.0123},
        "workflow_category": name,
        "agent": {"name": name, "model": name, name: name},
    }
    wrong = failed_turn(
        2, name, user_utterance=name, tool_name=name, argument_mismatch_reason=name, expected_tool=name
    )
    good = [session(f"c-{n}", [turn(1), replied(2, "match")], meta=spent) for n in range(4)]
    return [*good, session(name, [turn(1), wrong], meta=spent), unrun("e", message=name, **spent)]


@pytest.fixture
def metrics(measure: Measure) -> Metrics:
    return measure(*sessions("Quotes & Contracts"))


@pytest.fixture(scope="module")
def curve() -> Drawing:
    return Drawing("learning_curve", "A curve.", '<svg xmlns="http://www.w3.org/2000/svg" id="s"/>', b"")


def test_it_says_what_the_readme_says(metrics: Metrics) -> None:
    revision = {"sha256": REVISION, "conversations": 60, "path": "data/conversations/dev.jsonl"}
    page = Page(render_report(metrics, revision, ()))
    readme = whole_page(metrics, revision=revision)
    assert page.inside("h2") == re.findall(r"^## (.*)$", readme, flags=re.MULTILINE)
    rows = sum(line.startswith("| ") and not set(line) <= set("|-: ") for line in readme.splitlines())
    assert len(page.every("tr")) == rows
    written = " ".join(" ".join(text for _, text in page.texts).split())
    assert "80.0% of conversations have every turn correct" in written
    assert "6 of its 60 conversations" in written


def test_conversations_link_to_their_transcripts(metrics: Metrics) -> None:
    key = BaselineKey.of("dev", "20250102T030405Z")
    links = [a["href"] or "" for a in Page(render_report(metrics, None, (), baseline=key)).every("a")]
    leading = [href for href in links if not href.startswith("#")]
    assert leading[0] == "http://127.0.0.1:7580/dev/20250102T030405Z"
    assert "http://127.0.0.1:7580/dev/20250102T030405Z/Quotes%20%26%20Contracts" in leading
    without = Page(render_report(metrics, None, ()))
    assert all((a["href"] or "").startswith("#") for a in without.every("a"))


def test_pictures_stand_in_their_sections(metrics: Metrics, curve: Drawing) -> None:
    html = render_report(metrics, None, [*draw(metrics), curve])
    section, places = "", {}
    for heading, figure in re.findall(r'<h2 id="([^"]+)"|<figure id="([^"]+)"', html):
        section = heading or section
        if figure:
            places[figure] = section
    assert places == {
        "success_by_workflow": "by-workflow",
        "success_by_complexity": "by-complexity",
        "success_by_turn": "by-turn",
        "failure_kinds": "failure-kinds",
        "cost_by_role": "tokens-and-cost",
        "learning_curve": "rewards-and-time",
    }


def test_a_picture_without_a_section_comes_last(metrics: Metrics, curve: Drawing) -> None:
    other = Drawing("progression", "Progress.", curve.svg, b"")
    page = Page(render_report(metrics, None, [other]))
    assert page.inside("h2")[-1] == "More pictures"
    assert page.inside("figcaption") == ["Progress."]


def test_pictures_are_named_for_those_who_do_not_see_them(metrics: Metrics) -> None:
    drawings = draw(metrics)
    page = Page(render_report(metrics, None, drawings))
    labels = {(svg["role"], svg["aria-label"]) for svg in page.every("svg")}
    assert labels == {("img", drawing.caption) for drawing in drawings}
    assert set(page.inside("figcaption")) == {drawing.caption for drawing in drawings}


def test_tables_have_headers_and_names(metrics: Metrics) -> None:
    page = Page(render_report(metrics, None, ()))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert all(table["aria-labelledby"] in ids for table in page.every("table"))
    scopes = Counter(header.get("scope") for header in page.every("th"))
    bodies = len(page.every("tr")) - len(page.every("table"))
    assert scopes["row"] == bodies
    assert set(scopes) == {"row", "col"}
    assert any(cell.get("class") == "figure" for cell in page.every("td"))


def test_the_table_of_contents_leads_to_every_section(metrics: Metrics) -> None:
    page = Page(render_report(metrics, None, draw(metrics)))
    anchors = [link["href"] for link in page.every("a")]
    assert anchors == [f"#{heading['id']}" for heading in page.every("h2")]
    assert page.inside("a") == page.inside("h2")


def test_no_id_occurs_twice(metrics: Metrics, curve: Drawing) -> None:
    page = Page(render_report(metrics, None, [*draw(metrics), curve]))
    ids = Counter(each["id"] for _, each in page.elements if "id" in each)
    assert [name for name, count in ids.items() if count > 1] == []


def test_it_needs_no_network(metrics: Metrics, curve: Drawing) -> None:
    html = render_report(metrics, None, [*draw(metrics), curve])
    page = Page(html)
    policy = next(
        m["content"] for m in page.every("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None and policy.startswith("default-src 'none'")
    outside = [v for _, each in page.elements for k, v in each.items() if k in {"src", "href"}]
    assert all(value is not None and value.startswith("#") for value in outside)
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org/2000/svg)", html)


def test_no_text_of_a_dataset_or_a_model_becomes_markup(measure: Measure) -> None:
    harmless, hostile = (
        Page(render_report(metrics, None, draw(metrics)))
        for metrics in (measure(*sessions("Harmless")), measure(*sessions(HOSTILE)))
    )
    kinds = [Counter(tag for tag, _ in page.elements if tag not in {"g", "path", "use", "defs"})
             for page in (harmless, hostile)]  # fmt: skip
    assert kinds[0] == kinds[1]
    assert {"script", "img", "b"}.isdisjoint(kinds[1])
    assert hostile.open == []
    written = "".join(text for _, text in hostile.texts)
    assert '<script>alert("1")</script>' in written
    assert "&lt;b&gt; ![x](http://e.x/y)" in written


def test_it_is_for_light_dark_and_paper(metrics: Metrics) -> None:
    html = render_report(metrics, None, draw(metrics))
    assert "color-scheme: light dark" in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    assert "currentColor" in html


def test_the_title_names_the_baseline(metrics: Metrics) -> None:
    page = Page(render_report(metrics, None, ()))
    assert page.inside("title") == ["Baseline: Quotes & Contracts (Quotes & Contracts) on dev"]


def test_the_same_baseline_gives_the_same_page(metrics: Metrics) -> None:
    pages = {render_report(metrics, None, draw(metrics)) for _ in range(2)}
    assert len(pages) == 1


def test_a_revision_of_other_data_is_refused(metrics: Metrics) -> None:
    with pytest.raises(InputError, match="use the files of one baseline"):
        render_report(metrics, {"sha256": "0" * 64}, ())
