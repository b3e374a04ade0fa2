from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from crm_assets.reporting.comparison import (
    Comparison,
    FactChange,
    compare_baselines,
    comparison_blocks,
    headline,
    render_markdown,
    render_page,
)
from crm_assets.reporting.comparison.wording import fact_values
from crm_assets.reporting.terminal import show

from ..conftest import failed_turn, session, turn
from .conftest import RUN_A, RUN_B, Baseline, verdicts

HOSTILE = "<script>alert('&amp;')[bold]x[red]"


class Page(HTMLParser):
    """The tags of a page, and whether each was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def printed(comparison: Comparison, width: int = 80) -> str:
    terminal = io.StringIO()
    show(*comparison_blocks(comparison), console=Console(width=width, file=terminal))
    return terminal.getvalue()


@pytest.fixture
def hostile(baseline: Baseline) -> Comparison:
    """Runs in which every text tries to be markup."""
    name = {"agent": {"name": HOSTILE}, "workflow_category": HOSTILE, "complexity_level": HOSTILE}
    wrong = failed_turn(
        1,
        "wrong_error",
        tool_name=HOSTILE,
        arguments={HOSTILE: HOSTILE},
        expected_tool=HOSTILE,
        user_utterance=HOSTILE,
        error=HOSTILE,
        agent_response_text=HOSTILE,
    )
    a = baseline(RUN_A, [session(HOSTILE, [turn(1)], meta={**name, "config_path": HOSTILE})])
    b = baseline(RUN_B, [session(HOSTILE, [wrong], meta={**name, "config_path": f"{HOSTILE}2"})])
    return compare_baselines(a, b, resamples=100)


def test_no_text_of_a_dataset_or_a_model_becomes_markup(hostile: Comparison) -> None:
    page = read(render_page(hostile))
    assert "script" not in page.tags
    assert sum(HOSTILE in text for text in page.texts) >= 8
    # Agent of both, the config's path in both, workflow, complexity, conversation, and the call.
    assert printed(hostile, width=600).count(HOSTILE) >= 10


def test_the_page_needs_nothing_else(hostile: Comparison) -> None:
    html = render_page(hostile)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html
    linked = re.sub(r'<a href="http://127\.0\.0\.1:7580/[^"<>\s]*">', "<a>", html)
    assert linked.count("<a>A</a>, <a>B</a>") == len(hostile.flips)
    assert not re.search(r'https?://|\ssrc=|\shref="[^#]|@import|url\(', linked)


def test_the_page_holds_every_flip_with_its_turns(baseline: Baseline) -> None:
    turns = [
        turn(1),
        failed_turn(2, "argument_mismatch", arguments={"name": "Acne", "notes": "long " * 50}),
    ]
    a = baseline(RUN_A, [session(f"c-{n:02d}", [turn(1), turn(2)]) for n in range(30)])
    b = baseline(RUN_B, [session(f"c-{n:02d}", turns) for n in range(30)])
    comparison = compare_baselines(a, b, resamples=100)
    page = read(render_page(comparison))
    assert page.tags.count("details") == 30
    assert page.texts.count("▶ 2") == 30
    text = printed(comparison)
    assert "10 of 30 shown; all of them with --html or --json." in text
    assert "Strict success: 0 gained, 30 lost." in text
    assert '  B ✗ argument mismatch: client_search {"name":"Acne","notes":"long long' in text
    assert text.count("\n  B ✗ argument mismatch") == text.count("…\n") == 10  # cut, not wrapped
    assert "c-00, turn 2, expected client_search" in text


@pytest.mark.parametrize("width", [80, 120])
def test_figures_are_whole_in_a_narrow_terminal(baseline: Baseline, width: int) -> None:
    runs = []
    for run, period in ((RUN_A, 3), (RUN_B, 5)):
        records = verdicts([n % period > 0 for n in range(40)])
        for n, record in enumerate(records):
            record["atlas_metadata"] |= {
                "workflow_category": "Chained: advance a deal, then quote it",
                "session_reward": {"score": n * period % 40 / 40},
            }
        runs.append(baseline(run, records))
    comparison = compare_baselines(*runs, resamples=200)
    text = printed(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    for figure in ("65.0%", "80.0%", "+15.0"):
        assert figure in text
    for measure, scale, digits in (("strict_success", 100, 1), ("reward", 1, 3)):
        paired = comparison.by(measure).paired
        ends = [(paired.low or 0.0) * scale, (paired.high or 0.0) * scale]
        interval = " to ".join(f"{'+' if end > 0 else '−'}{abs(end):.{digits}f}" for end in ends)
        assert f" {interval} " in text
        assert f" {paired.better}/{paired.worse} " in text


def test_the_headline_says_what_was_shown(baseline: Baseline) -> None:
    def says(a: list[bool], b: list[bool]) -> str:
        runs = baseline(RUN_A, verdicts(a)), baseline(RUN_B, verdicts(b))
        return headline(compare_baselines(*runs, resamples=200))

    assert says([False] * 12, [True] * 11 + [False]).startswith(
        "B did better on strict success: +91.7 points ("
    )
    assert says([True] * 12, [False] * 11 + [True]).startswith(
        "B did worse on strict success: −91.7 points ("
    )
    undecided = says([True, False] * 20, [True, False] * 19 + [False, True])
    assert undecided.startswith("No significant difference in strict success: 0.0 points (")
    assert "p = 1.0000); minimum detectable difference with 40 conversations: " in undecided
    assert re.search(r"conversations: \d+\.\d points\.$", undecided)
    assert says([True, False], [True, True]).endswith("; 2 conversations are too few to tell.")
    assert "cannot be compared" in says([None], [True])  # type: ignore[list-item]


def test_a_detectable_difference_beyond_the_measure_is_no_number(baseline: Baseline) -> None:
    runs = []
    for run, rewards in ((RUN_A, (0.0, 0.1)), (RUN_B, (0.9, 0.1))):
        records = verdicts([True, True])
        for record, reward in zip(records, rewards, strict=True):
            record["conversation_result"]["reward_signal"] = reward
        runs.append(baseline(run, records))
    comparison = compare_baselines(*runs, resamples=100)
    smallest = comparison.by("harness_reward").paired.detectable_difference
    assert smallest is not None and smallest > 1
    for text in (render_page(comparison), render_markdown(comparison), printed(comparison, 120)):
        assert "n too small" in text and f"{smallest * 100:.1f}" not in text


def test_the_markdown_says_what_differs_on_the_whole_and_how_sure_that_is(baseline: Baseline) -> None:
    a = baseline(RUN_A, verdicts([False] * 8 + [True] * 4))
    b = baseline(RUN_B, verdicts([True] * 8 + [True] * 3))
    text = render_markdown(compare_baselines(a, b))
    assert f"A is `{RUN_A}`, B is `{RUN_B}`" in text
    assert "**B did better on strict success: +72.7 points (" in text
    assert "Left out: 1 conversation of run 20260101T000000Z" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| Strict success")]
    assert [cell.strip() for cell in row.strip("|").split("|")][1:4] == ["27.3%", "100.0%", "+72.7"]
    assert "Strict success: 8 gained, 0 lost." in text
    assert f"`crm-assets compare dev {RUN_A} {RUN_B}`" in text


def test_hashes_are_shown_as_far_as_they_tell_apart():
    assert fact_values(FactChange(fact="playbook.sha256", a="a1" * 32, b=None)) == ("a1" * 6, "–")
