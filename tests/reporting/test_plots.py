from __future__ import annotations

import base64
import io
import random
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from crm_assets.reporting.markdown import render_blocks
from crm_assets.reporting.plots import (
    NAMES,
    CurvePoint,
    Drawing,
    Estimate,
    KindCount,
    Pictures,
    RateBar,
    RoleAmount,
    RunPoint,
    draw,
    from_metrics,
    inline_svg,
    markdown_image,
    run_point,
    write_pictures,
)
from crm_assets.reporting.plots.amounts import short
from crm_assets.reporting.plots.curves import running_mean
from crm_assets.reporting.plots.drawing import figures
from crm_assets.reporting.plots.style import COLOURS, INK, fit, our_style

from .conftest import Measure, failed_turn, session, turn, unrun

BACKGROUNDS = ("#ffffff", "#0d1117", "#1e1e1e")
NONE = Estimate(None, None, None)


def about(value: float) -> Estimate:
    return Estimate(value, max(0.0, value - 0.1), min(1.0, value + 0.1))


def bar(label: str, value: float | None, count: int) -> RateBar:
    estimate = NONE if value is None else about(value)
    return RateBar(label, estimate.value, estimate.low, estimate.high, count)


def run(label: str, mode: str = "paired", reward: Estimate = NONE) -> RunPoint:
    return RunPoint(label, mode, about(0.5), about(0.6), reward)


ORDINARY = Pictures(
    by_complexity=(bar("simple", 0.9, 40), bar("medium", 0.6, 35), bar("complex", 0.0, 25)),
    by_workflow=(bar("Client Management", 1.0, 60), bar("Quotes", 0.4, 40), bar("Never ran", None, 0)),
    by_turn=tuple(bar(str(n), 1 - n / 10, 100 // n) for n in range(1, 8)),
    rewards=tuple(CurvePoint(n, f"crm::{n % 3}", n / 60) for n in range(1, 61)),
    roles=(
        RoleAmount("student", 120_000, 8_000, 128_000, 0.42),
        RoleAmount("judge", None, None, 31_000, None),
        RoleAmount("teacher", None, None, None, 1.5),
    ),
    failure_kinds=(KindCount("Another tool", 12), KindCount("No tool called", 3)),
    runs=(run("20250101T000000Z", "harness"), run("20250102T000000Z-new-prompt", reward=about(0.7))),
)

WIDE = "W" * 300
HOSTILE = Pictures(
    by_complexity=(bar(r"$\frac$ <b>&amp;", 0.5, 10**9), bar("", 0.5, 3), bar(WIDE, 0.2, 1)),
    by_workflow=tuple(
        bar(f"Several Words of the Workflow with Number {n} that Go on and on for a While", n / 60, n)
        for n in range(60)
    ),
    by_turn=tuple(bar(str(n), 0.5, 1_000_000 + n) for n in range(1, 121)),
    rewards=tuple(CurvePoint(n, f"{WIDE}{n % 40}", 1.0) for n in range(1, 2_001)),
    roles=tuple(RoleAmount(f"{WIDE} {n}", 10**n, 10**n, 3 * 10**n, 10.0 ** (n - 5)) for n in range(13)),
    failure_kinds=tuple(KindCount(f"{WIDE} {n}", 10 ** (n % 12)) for n in range(15)),
    runs=tuple(run(f"20250101T{n:06d}Z-{'with-a-label-' * 9}", f"{WIDE}{n % 7}") for n in range(80)),
)


@pytest.fixture(scope="module")
def drawings() -> tuple[Drawing, ...]:
    return draw(ORDINARY)


@dataclass(frozen=True)
class Written:
    """A text in a figure, and the box that it fills."""

    text: str
    size: float
    box: Any


@dataclass(frozen=True)
class Laid:
    """A figure as a reader has it before them."""

    name: str
    alt: str
    whole: Any
    texts: list[Written]


@pytest.fixture(scope="module")
def ordinary() -> list[Laid]:
    return lay_out(ORDINARY)


@pytest.fixture(scope="module")
def hostile() -> list[Laid]:
    return lay_out(HOSTILE)


@pytest.fixture(params=["ordinary", "hostile"])
def laid_out(request: pytest.FixtureRequest) -> list[Laid]:
    laid: list[Laid] = request.getfixturevalue(request.param)
    return laid


def lay_out(pictures: Pictures) -> list[Laid]:
    with our_style():
        return [Laid(name, alt, figure.bbox, texts(figure)) for name, alt, figure in figures(pictures)]


def only_figure(pictures: Pictures) -> Any:
    with our_style():
        ((_, _, figure),) = figures(pictures)
    return figure


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def texts(figure: Any) -> list[Written]:
    """What is written when the figure is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    written = []

    def draw_text(artist: Any, renderer: Any) -> None:
        if artist.get_visible() and artist.get_text().strip():
            box = artist.get_window_extent(renderer)
            written.append(Written(artist.get_text(), artist.get_fontsize(), box))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw_text)
        figure.draw(FigureCanvasAgg(figure).get_renderer())
    return written


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_colours_contrast_with_light_and_dark_pages(background: str) -> None:
    assert min(contrast(colour, background) for colour in (INK, *COLOURS)) >= 3.0


def test_nothing_is_drawn_in_other_colours(drawings: tuple[Drawing, ...]) -> None:
    for drawing in drawings:
        used = {colour.lower() for colour in re.findall(r"#[0-9a-fA-F]{6}\b", drawing.svg)}
        assert used <= {INK, *COLOURS}, drawing.name


def test_there_is_every_picture_in_both_formats(drawings: tuple[Drawing, ...]) -> None:
    assert tuple(drawing.name for drawing in drawings) == NAMES
    for drawing in drawings:
        assert ElementTree.fromstring(drawing.svg).tag.endswith("svg")
        with Image.open(io.BytesIO(drawing.png)) as image:
            assert image.convert("RGBA").getpixel((2, 2))[3] == 0


def test_pictures_without_records_are_left_out() -> None:
    assert draw(Pictures()) == ()
    for field in fields(Pictures):
        alone = draw(replace(Pictures(), **{field.name: getattr(ORDINARY, field.name)}))
        assert len(alone) == 1, field.name


def test_labels_lie_within_the_picture(laid_out: list[Laid]) -> None:
    for figure in laid_out:
        whole = figure.whole
        assert len(figure.texts) > 5
        for written in figure.texts:
            box = written.box
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, (figure.name, written)
            assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, (figure.name, written)


def test_labels_do_not_overlap(laid_out: list[Laid]) -> None:
    for figure in laid_out:
        for one, other in combinations(figure.texts, 2):
            assert not one.box.padded(-0.5).overlaps(other.box.padded(-0.5)), (figure.name, one, other)


def test_text_is_large_enough_to_read(laid_out: list[Laid]) -> None:
    assert min(written.size for figure in laid_out for written in figure.texts) >= 8


def test_large_pictures_stay_small_enough_for_metadata() -> None:
    for drawing in draw(Pictures(by_workflow=HOSTILE.by_workflow, runs=HOSTILE.runs)):
        assert len(markdown_image(drawing.png)) < 60_000, drawing.name
        assert len(drawing.svg) < 400_000, drawing.name


def test_the_same_records_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "import hashlib\n"
        "from crm_assets.reporting.plots import *\n"
        "d, = draw(Pictures(failure_kinds=(KindCount('A $ kind', 3),)))\n"
        "print(hashlib.sha256(d.svg.encode() + d.png).hexdigest())\n"
    )
    (tmp_path / "matplotlibrc").write_text("font.size: 22\naxes.linewidth: 5\nsvg.hashsalt: x\n")
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"MPLCONFIGDIR": str(config), "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for config, seed in ((tmp_path, "1"), (tmp_path / "none", "2"))
    }  # fmt: skip
    assert len(hashes) == 1


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(Pictures(failure_kinds=ORDINARY.failure_kinds))
    assert dict(matplotlib.rcParams) == before


def test_what_is_heavy_is_imported_late_and_pyplot_never() -> None:
    script = (
        "import sys, crm_assets.reporting.report\n"
        "from crm_assets.reporting.plots import *\n"
        "print(*{'matplotlib', 'pandas', 'jinja2'}.intersection(sys.modules))\n"
        "draw(Pictures(failure_kinds=(KindCount('A kind', 3),)))\n"
        "print(*{'matplotlib', 'matplotlib.pyplot'}.intersection(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\nmatplotlib\n"


def test_names_in_other_scripts_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(Pictures(by_workflow=(bar("顧客管理 😀", 0.5, 4),)))


def test_alternative_texts_say_what_is_shown(drawings: tuple[Drawing, ...]) -> None:
    alts = {drawing.name: drawing.alt for drawing in drawings}
    assert alts["success_by_workflow"] == (
        "Strict success by workflow: Client Management 100.0% of 60; Quotes 40.0% of 40; "
        "Never ran without a verdict."
    )
    assert alts["cost_by_role"] == (
        "Tokens and cost by role: student 128,000 tokens, $0.4200; judge 31,000 tokens, –; "
        "teacher – tokens, $1.50."
    )
    assert alts["learning_curve"].endswith("60 sessions, 3 keys, mean reward 0.508.")


def test_long_lists_are_cut_and_say_so(hostile: list[Laid]) -> None:
    expected = {
        "success_by_workflow": ("The 24 with the most conversations; 36 more", "; and 52 more."),
        "cost_by_role": ("The 12 with the most tokens; 1 more", "; and 5 more."),
        "failure_kinds": ("3 rarer kinds, 12 turns together", "; and 7 more."),
        "learning_curve": ("32 other keys, together", "2,000 sessions, 40 keys"),
        "progression": ("The newest 40 runs; 40 older ones", "73 older runs"),
    }
    figures_by_name = {figure.name: figure for figure in hostile}
    for name, (note, alt) in expected.items():
        assert any(note in written.text for written in figures_by_name[name].texts), name
        assert alt in figures_by_name[name].alt, name


def test_keys_that_share_a_panel_are_one_mean_at_each_place() -> None:
    points = tuple(
        CurvePoint(order, f"key {key:02d}", reward=1.0 if key == 39 else 0.5)
        for key in range(40)
        for order in range(1, 1 + (3 if key == 39 else 2) + (key < 8))
    )
    together = only_figure(Pictures(rewards=points)).axes[-1]
    dots, line = together.lines
    assert list(dots.get_xdata()) == list(line.get_xdata()) == [1, 2, 3], "one line, not one for each key"
    assert list(dots.get_ydata()) == [0.5 + 0.5 / 32, 0.5 + 0.5 / 32, 1.0]


def test_what_has_no_verdict_is_not_drawn_as_zero() -> None:
    (axes,) = only_figure(Pictures(by_complexity=(bar("a", None, 0), bar("b", 0.5, 9)))).axes
    (dots,) = axes.lines
    assert list(dots.get_xdata()) == [0.5]
    assert "no verdict" in {text.get_text() for text in axes.texts}


def test_whiskers_span_the_interval() -> None:
    bars = (RateBar("a", 0.5, 0.25, 0.8, 9), RateBar("b", 0.75, None, None, 1))
    for pictures, along in ((Pictures(by_workflow=bars), 0), (Pictures(by_turn=bars), 1)):
        (axes,) = only_figure(pictures).axes
        (lines,), (dots,) = axes.collections, axes.lines
        assert [segment[:, along].tolist() for segment in lines.get_segments()] == [[0.25, 0.8]]
        assert list(dots.get_data()[along]) == [0.5, 0.75]


def test_modes_differ_by_marker_and_keep_it() -> None:
    def markers(*modes: str) -> dict[float, str]:
        strict, _, _ = only_figure(Pictures(runs=tuple(run("r", mode) for mode in modes))).axes
        dots = [line for line in strict.lines if line.get_marker() != "None"]
        return {row: line.get_marker() for line in dots for row in line.get_ydata()}

    harness, paired, again = (markers("harness", "paired", "harness")[row] for row in range(3))
    assert harness == again != paired
    assert markers("paired")[0] == markers("auto", "imported", "paired")[2] == paired


def test_runs_without_rewards_say_so() -> None:
    figure = only_figure(Pictures(runs=(run("a"), run("b"))))
    assert [text.get_text() for text in figure.axes[2].texts] == ["none reported"]


def test_a_side_that_nobody_reported_is_left_out() -> None:
    with our_style():
        tokens = Pictures(roles=(RoleAmount("student", 1, 2, 3, None),))
        assert [len(figure.axes) for _, _, figure in figures(tokens)] == [1]
        assert list(figures(Pictures(roles=(RoleAmount("student", None, None, None, None),)))) == []


def test_tokens_of_unknown_kind_make_the_bar_as_long_as_the_total() -> None:
    figure = only_figure(Pictures(roles=(RoleAmount("judge", 10, None, 31, None),)))
    ends = [patch.get_x() + patch.get_width() for patch in figure.axes[0].patches]
    assert max(ends) == 31
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "prompt",
        "kind unknown",
    ]


def test_the_order_of_points_does_not_matter() -> None:
    shuffled = list(ORDINARY.rewards)
    random.Random(3).shuffle(shuffled)
    assert draw(Pictures(rewards=tuple(shuffled))) == draw(Pictures(rewards=ORDINARY.rewards))


def test_the_running_mean_is_of_the_last_ones() -> None:
    assert running_mean([1.0, 0.0, 0.0, 1.0, 1.0], 2) == [1.0, 0.5, 0.0, 0.5, 1.0]
    assert running_mean([0.5], 10) == [0.5]


def test_of_many_sessions_a_dot_is_the_mean_of_a_few() -> None:
    points = tuple(CurvePoint(n, "key", float(n % 2)) for n in range(1, 601))
    (axes,) = only_figure(Pictures(rewards=points)).axes
    dots, line = axes.lines
    assert list(dots.get_ydata()) == [0.5] * 150
    assert list(dots.get_xdata())[:2] == [2.5, 6.5]
    assert line.get_xdata()[-1] == 600


def test_what_all_keys_share_is_not_in_their_titles() -> None:
    points = [CurvePoint(n, f"crm-benchmark::{w}::simple", 0.5) for n, w in enumerate("AB", 1)]
    figure = only_figure(Pictures(rewards=tuple(points)))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["A · simple", "B · simple"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("words that need a second line", ["words that need a", "second line"]),
        ("20250102T000000Z-with-a-new-prompt", ["20250102T000000Z-", "with-a-new-prompt"]),
        ("", ["(no name)"]),
    ],
)
def test_labels_break_where_people_would_break_them(text: str, lines: list[str]) -> None:
    assert fit(text, 1.35).split("\n") == lines


def test_what_does_not_fit_is_elided() -> None:
    first, second = fit("x" * 1000, 1.0).split("\n")
    assert set(first) == {"x"}
    assert set(second) == {"x", "…"}


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (999, "999"), (1_500, "1.5k"), (2e6, "2M"), (3.21e9, "3.21B"), (4e12, "4T")],
)
def test_numbers_on_axes_are_short(amount: float, text: str) -> None:
    assert short(amount) == text


def test_a_baselines_metrics_become_pictures(measure: Measure) -> None:
    spent = {
        "token_usage": {"student": {"prompt_tokens": 1200, "completion_tokens": 34}},
        "cost_usd": {"student": 0.0123, "teacher": 0.5},
    }
    bad = session("c-2", [turn(1), failed_turn(2)], meta={"complexity_level": "complex"})
    metrics = measure(session("c-1", meta=spent), bad, unrun("c-3"))
    pictures = from_metrics(metrics)
    simple, complex_ = pictures.by_complexity
    assert (simple.label, simple.value, simple.count) == ("simple", 1.0, 1)
    assert (complex_.value, complex_.low, complex_.high) == (
        0.0,
        metrics.by_complexity["complex"].strict_success.low,
        metrics.by_complexity["complex"].strict_success.high,
    )
    assert [(bar.label, bar.value, bar.count) for bar in pictures.by_turn] == [("1", 1.0, 2), ("2", 0.0, 1)]
    assert pictures.roles == (
        RoleAmount("student", 1200, 34, 1234, 0.0123),
        RoleAmount("teacher", None, None, None, 0.5),
    )
    assert pictures.failure_kinds == (KindCount("Wrong tool", 1),)
    names = [drawing.name for drawing in draw(pictures)]
    assert names == [name for name in NAMES if name not in {"learning_curve", "progression"}]


def test_a_baseline_becomes_a_point_of_the_history(measure: Measure) -> None:
    metrics = measure(
        *(
            session(f"c-{n}", meta={"execution_mode": "paired", "session_reward": {"score": 0.5}})
            for n in range(3)
        ),
        session("d", meta={"execution_mode": "coach", "session_reward": {"score": 0.9}}),
    )
    point = run_point("R", metrics)
    assert (point.label, point.mode, point.strict_success.value) == ("R", "paired", 1.0)
    assert point.reward == Estimate(0.6, metrics.reward_summary.low, metrics.reward_summary.high)


def test_files_lie_beside_the_readme(tmp_path: Path, drawings: tuple[Drawing, ...]) -> None:
    folder = tmp_path / "plots"
    files = write_pictures(folder, drawings)
    assert [file.path.name for file in files] == [f"{name}.svg" for name in NAMES]
    assert [file.path.read_text() for file in files] == [drawing.svg for drawing in drawings]
    assert render_blocks([files[0].figure]) == (
        "![Strict success by complexity: simple 90.0% of 40; medium 60.0% of 35; complex 0.0% of 25.]"
        "(plots/success_by_complexity.svg)"
    )
    (named,) = write_pictures(folder, [replace(drawings[0], alt="a ](b) c")])
    assert render_blocks([named.figure]) == r"![a \](b) c](plots/success_by_complexity.svg)"


def test_pictures_of_an_earlier_run_go_and_other_files_stay(
    tmp_path: Path, drawings: tuple[Drawing, ...]
) -> None:
    write_pictures(tmp_path, drawings)
    (tmp_path / "mine.svg").write_text("mine")
    write_pictures(tmp_path, drawings[:1])
    assert {path.name for path in tmp_path.iterdir()} == {f"{drawings[0].name}.svg", "mine.svg"}


def test_markdown_images_hold_the_picture() -> None:
    text = markdown_image(b"\x89PNG", "a [b]")
    match = re.fullmatch(r"!\[a \\\[b\\\]\]\(data:image/png;base64,(.*)\)", text)
    assert match and base64.b64decode(match[1]) == b"\x89PNG"


def test_inline_pictures_take_the_pages_ink_and_share_no_id(drawings: tuple[Drawing, ...]) -> None:
    pages = [inline_svg(drawing) for drawing in drawings]
    ids = [found for page in pages for found in re.findall(r'\bid="([^"]+)"', page)]
    assert len(ids) == len(set(ids))
    for page in pages:
        assert INK not in page and "currentColor" in page
        known = set(re.findall(r'\bid="([^"]+)"', page))
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) <= {
            pair for each in known for pair in ((each, ""), ("", each))
        }
        assert not re.search(r"<(style|metadata|title|script)\b|<!--|xmlns:xlink", page)
