from __future__ import annotations

import base64
import io
import random
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from crm_assets.reporting.figures import Mean, Rate
from crm_assets.reporting.judge_models import CalibrationBin, JudgeFigures, RewardAgainst
from crm_assets.reporting.markdown import render_blocks
from crm_assets.reporting.models import (
    ConversationGroup,
    CurveBlock,
    FailureKind,
    Metrics,
    RoleCost,
    RoleTokens,
    TurnGroup,
)
from crm_assets.reporting.plots import (
    NAMES,
    Drawing,
    captions,
    draw,
    draw_pareto,
    draw_progression,
    inline_svg,
    markdown_image,
    write_pictures,
)
from crm_assets.reporting.plots.amounts import short
from crm_assets.reporting.plots.curves import running_mean
from crm_assets.reporting.plots.drawing import Plot, lay_out, plots_of
from crm_assets.reporting.plots.pareto import Priced, pareto
from crm_assets.reporting.plots.progression import progression
from crm_assets.reporting.plots.style import COLORS, INK, fit, our_style
from crm_assets.reporting.run_figures import RunFigures

from .conftest import Measure, failed_turn, session, turn, unrun

BACKGROUNDS = ("#ffffff", "#0d1117", "#1e1e1e")
PARTS = {
    "by_complexity": {},
    "by_workflow": {},
    "by_turn": {},
    "learning_curve": (),
    "judges": None,
    "token_usage": {},
    "cost_usd": {},
    "failure_kinds": (),
}


def baseline(**parts: Any) -> Metrics:
    """The metrics of a baseline, those of its parts that pictures are drawn from."""
    return Metrics.model_construct(**{**PARTS, **parts})


def rate(value: float | None, count: int = 10, low: float | None = None, high: float | None = None) -> Rate:
    """A rate with an interval around it, unless another is given."""
    if value is not None and low is high is None:
        low, high = max(0.0, value - 0.1), min(1.0, value + 0.1)
    return Rate.model_construct(value=value, low=low, high=high, count=count)


def groups(*bars: tuple[str, float | None, int]) -> dict[str, ConversationGroup]:
    return {
        label: ConversationGroup.model_construct(strict_success=rate(value, count))
        for label, value, count in bars
    }


def turns(*counts: int, success: float = 0.5) -> dict[str, TurnGroup]:
    return {
        str(turn): TurnGroup.model_construct(turn_success=rate(success, count))
        for turn, count in enumerate(counts, 1)
    }


def block(order: int, label: str, reward: float | None) -> CurveBlock:
    return CurveBlock.model_construct(key=label, label=label, first=order, last=order, reward=reward)


def tokens(prompt: int | None, completion: int | None, total: int) -> RoleTokens:
    return RoleTokens(
        prompt_tokens=prompt, completion_tokens=completion, total_tokens=total, calls=1, conversations=1
    )


def cost(usd: float) -> RoleCost:
    return RoleCost(usd=usd, conversations=1)


def kind(name: str, count: int) -> FailureKind:
    return FailureKind.model_construct(kind=name, turns=count)


def mean(value: float | None) -> Mean:
    return Mean.model_construct(mean=value, low=value, high=value)


def run(mode: str = "paired", reward: float | None = None) -> RunFigures:
    return RunFigures.model_construct(
        mode=mode,
        dataset_revision=None,
        conversations=60,
        strict_success=rate(0.5),
        state_match=rate(0.6),
        reward=mean(reward),
    )


def judged(*shares: tuple[float, float]) -> JudgeFigures:
    """Rewards, each with the share of right ones that go with it."""
    bins = tuple(
        CalibrationBin(low=int(x * 10) / 10, high=int(x * 10 + 1) / 10, reward=x, right=rate(y))
        for x, y in shares
    )
    names = ("strict_success", "turns_right", "state_match", "turn_success")
    return JudgeFigures.model_construct(
        rewards={name: RewardAgainst.model_construct(bins=bins) for name in names}
    )


ORDINARY = baseline(
    judges=judged((0.25, 0.1), (0.55, 0.5), (0.95, 1.0)),
    by_complexity=groups(("simple", 0.9, 40), ("medium", 0.6, 35), ("complex", 0.0, 25)),
    by_workflow=groups(("Client Management", 1.0, 60), ("Quotes", 0.4, 40), ("Never ran", None, 0)),
    by_turn=turns(*(100 // n for n in range(1, 8))),
    learning_curve=tuple(block(n, f"crm::{n % 3}", n / 60) for n in range(1, 61)),
    token_usage={"student": tokens(120_000, 8_000, 128_000), "judge": tokens(None, None, 31_000)},
    cost_usd={"student": cost(0.42), "teacher": cost(1.5)},
    failure_kinds=(kind("tool_mismatch", 12), kind("no_tool_call", 3)),
)
RUNS = {"20250101T000000Z": run("harness"), "20250102T000000Z-new-prompt": run(reward=0.7)}

WIDE = "W" * 300
HOSTILE = baseline(
    by_complexity=groups((r"$\frac$ <b>&amp;", 0.5, 10**9), ("", 0.5, 3), (WIDE, 0.2, 1)),
    by_workflow=groups(
        *(
            (f"Several Words of the Workflow with Number {n} that Go on and on for a While", n / 60, n)
            for n in range(60)
        )
    ),
    by_turn=turns(*(1_000_000 + n for n in range(1, 121))),
    learning_curve=tuple(block(n, f"{WIDE}{n % 40}", 1.0) for n in range(1, 2_001)),
    token_usage={f"{WIDE} {n:02d}": tokens(10**n, 10**n, 3 * 10**n) for n in range(13)},
    cost_usd={f"{WIDE} {n:02d}": cost(10.0 ** (n - 5)) for n in range(13)},
    failure_kinds=tuple(kind(f"{WIDE} {n}", 10 ** (n % 12)) for n in range(15)),
)
HOSTILE_RUNS = {f"20250101T{n:06d}Z-{'with-a-label-' * 9}": run(f"{WIDE}{n % 7}") for n in range(80)}


SYSTEMS = [
    Priced("A", 0.05, rate(0.7, 100, 0.6, 0.78), on_front=True),
    Priced("B", 0.0505, rate(0.69, 100, 0.59, 0.77), on_front=False),
    Priced("C", 0.01, rate(0.2, 100, 0.13, 0.29), on_front=True),
]


@pytest.fixture(scope="module")
def drawings() -> tuple[Drawing, ...]:
    return (*draw(ORDINARY), *draw_progression(RUNS), *draw_pareto(SYSTEMS))


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
    whole: Any
    texts: list[Written]


@pytest.fixture(scope="module")
def ordinary() -> list[Laid]:
    return laid(ORDINARY, RUNS)


@pytest.fixture(scope="module")
def hostile() -> list[Laid]:
    return laid(HOSTILE, HOSTILE_RUNS)


@pytest.fixture(params=["ordinary", "hostile"])
def laid_out(request: pytest.FixtureRequest) -> list[Laid]:
    laid: list[Laid] = request.getfixturevalue(request.param)
    return laid


def laid(metrics: Metrics, runs: dict[str, RunFigures]) -> list[Laid]:
    plots = [
        *plots_of(metrics),
        Plot("progression", lambda: progression(runs)),
        Plot("pareto", lambda: pareto(SYSTEMS)),
    ]
    with our_style():
        drawn = [(plot.name, lay_out(plot)) for plot in plots]
        return [Laid(name, figure.bbox, texts(figure)) for name, figure in drawn]


def only_figure(metrics: Metrics) -> Any:
    with our_style():
        (plot,) = plots_of(metrics)
        return lay_out(plot)


def figure_of(*runs: RunFigures) -> Any:
    with our_style():
        return lay_out(
            Plot("progression", lambda: progression({str(n): each for n, each in enumerate(runs)}))
        )


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.1 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
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
def test_colors_contrast_with_light_and_dark_pages(background: str) -> None:
    assert min(contrast(color, background) for color in (INK, *COLORS)) >= 3.0


def test_nothing_is_drawn_in_other_colors(drawings: tuple[Drawing, ...]) -> None:
    for drawing in drawings:
        used = {color.lower() for color in re.findall(r"#[0-9a-fA-F]{6}\b", drawing.svg)}
        assert used <= {INK, *COLORS}, drawing.name


def test_there_is_every_picture_in_both_formats(drawings: tuple[Drawing, ...]) -> None:
    assert tuple(drawing.name for drawing in drawings) == NAMES
    for drawing in drawings:
        assert ElementTree.fromstring(drawing.svg).tag.endswith("svg")
        with Image.open(io.BytesIO(drawing.png)) as image:
            assert image.convert("RGBA").getpixel((2, 2))[3] == 0


def test_pictures_without_figures_are_left_out() -> None:
    assert draw(baseline()) == () == draw_progression({}) == draw_pareto(SYSTEMS[:1])
    for part in PARTS:
        alone = draw(baseline(**{part: getattr(ORDINARY, part)}))
        assert len(alone) == 1, part


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
    for drawing in (*draw(baseline(by_workflow=HOSTILE.by_workflow)), *draw_progression(HOSTILE_RUNS)):
        assert len(markdown_image(drawing.png)) < 60_000, drawing.name
        assert len(drawing.svg) < 400_000, drawing.name


def test_the_same_records_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = (
        "import hashlib\n"
        "from crm_assets.reporting.models import FailureKind, Metrics\n"
        "from crm_assets.reporting.plots import draw\n"
        "kind = FailureKind.model_construct(kind='A $ kind', turns=3)\n"
        f"parts = {PARTS!r}\n"
        "d, = draw(Metrics.model_construct(**{**parts, 'failure_kinds': (kind,)}))\n"
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
    draw(baseline(failure_kinds=ORDINARY.failure_kinds))
    assert dict(matplotlib.rcParams) == before


def test_what_is_heavy_is_imported_late_and_pyplot_never() -> None:
    script = (
        "import sys, crm_assets.reporting.report\n"
        "from crm_assets.reporting.models import RoleCost\n"
        "from crm_assets.reporting.plots.amounts import role_amounts\n"
        "print(*{'matplotlib', 'pandas', 'jinja2'}.intersection(sys.modules))\n"
        "role_amounts({}, {'student': RoleCost(usd=1, conversations=1)})\n"
        "print(*{'matplotlib', 'matplotlib.pyplot'}.intersection(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\nmatplotlib\n"


def test_names_in_other_scripts_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(baseline(by_workflow=groups(("顧客管理 😀", 0.5, 4))))


def test_captions_say_what_is_shown_and_no_figures(drawings: tuple[Drawing, ...]) -> None:
    shown = {drawing.name: drawing.caption for drawing in drawings}
    assert shown["success_by_workflow"] == (
        "Strict success by workflow: the share of conversations that succeeded, with its 95% interval."
    )
    for caption in shown.values():
        assert not re.search(r"\d", caption.replace("95%", "")), caption
    assert captions(ORDINARY) == {
        name: text for name, text in shown.items() if name not in ("progression", "pareto")
    }


def test_long_lists_are_cut_and_say_so(hostile: list[Laid]) -> None:
    expected = {
        "success_by_workflow": "The 24 with the most conversations; 36 more",
        "cost_by_role": "The 12 with the most tokens; 1 more",
        "failure_kinds": "3 rarer kinds, 12 turns together",
        "learning_curve": "32 other keys, together",
        "progression": "The newest 40 runs; 40 older ones",
    }
    figures_by_name = {figure.name: figure for figure in hostile}
    for name, note in expected.items():
        assert any(note in written.text for written in figures_by_name[name].texts), name


def test_keys_that_share_a_panel_are_one_mean_at_each_place() -> None:
    points = tuple(
        block(order, f"key {key:02d}", 1.0 if key == 39 else 0.5)
        for key in range(40)
        for order in range(1, 1 + (3 if key == 39 else 2) + (key < 8))
    )
    together = only_figure(baseline(learning_curve=points)).axes[-1]
    dots, line = together.lines
    assert list(dots.get_xdata()) == list(line.get_xdata()) == [1, 2, 3], "one line, not one for each key"
    assert list(dots.get_ydata()) == [0.5 + 0.5 / 32, 0.5 + 0.5 / 32, 1.0]


def test_what_has_no_verdict_is_not_drawn_as_zero() -> None:
    (axes,) = only_figure(baseline(by_complexity=groups(("a", None, 0), ("b", 0.5, 9)))).axes
    (dots,) = axes.lines
    assert list(dots.get_xdata()) == [0.5]
    assert "no verdict" in {text.get_text() for text in axes.texts}


def test_whiskers_span_the_interval() -> None:
    bars = {
        "a": rate(0.5, 9, 0.25, 0.8),
        "b": Rate.model_construct(value=0.75, low=None, high=None, count=1),
    }
    workflows = {name: ConversationGroup.model_construct(strict_success=bar) for name, bar in bars.items()}
    positions = {name: TurnGroup.model_construct(turn_success=bar) for name, bar in bars.items()}
    for metrics, along in ((baseline(by_workflow=workflows), 0), (baseline(by_turn=positions), 1)):
        (axes,) = only_figure(metrics).axes
        (lines,), (dots,) = axes.collections, axes.lines
        assert [segment[:, along].tolist() for segment in lines.get_segments()] == [[0.25, 0.8]]
        assert list(dots.get_data()[along]) == [0.5, 0.75]


def test_modes_differ_by_marker_and_keep_it() -> None:
    def markers(*modes: str) -> dict[float, str]:
        strict, _, _ = figure_of(*map(run, modes)).axes
        dots = [line for line in strict.lines if line.get_marker() != "None"]
        return {row: line.get_marker() for line in dots for row in line.get_ydata()}

    harness, paired, again = (markers("harness", "paired", "harness")[row] for row in range(3))
    assert harness == again != paired
    assert markers("paired")[0] == markers("auto", "imported", "paired")[2] == paired


def test_runs_without_rewards_say_so() -> None:
    figure = figure_of(run(), run())
    assert [text.get_text() for text in figure.axes[2].texts] == ["none reported"]


def test_a_side_that_nobody_reported_is_left_out() -> None:
    assert len(only_figure(baseline(token_usage={"student": tokens(1, 2, 3)})).axes) == 1
    assert len(only_figure(baseline(cost_usd={"student": cost(1.0)})).axes) == 1


def test_tokens_of_unknown_kind_make_the_bar_as_long_as_the_total() -> None:
    figure = only_figure(baseline(token_usage={"judge": tokens(10, None, 31)}))
    ends = [patch.get_x() + patch.get_width() for patch in figure.axes[0].patches]
    assert max(ends) == 31
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "prompt",
        "kind unknown",
    ]


def test_the_order_of_points_does_not_matter() -> None:
    shuffled = list(ORDINARY.learning_curve)
    random.Random(3).shuffle(shuffled)
    curves = (baseline(learning_curve=blocks) for blocks in (shuffled, ORDINARY.learning_curve))
    assert len({draw(each) for each in curves}) == 1


def test_the_running_mean_is_of_the_last_ones() -> None:
    assert running_mean([1.0, 0.0, 0.0, 1.0, 1.0], 2) == [1.0, 0.5, 0.0, 0.5, 1.0]
    assert running_mean([0.5], 10) == [0.5]


def test_of_many_sessions_a_dot_is_the_mean_of_a_few() -> None:
    points = tuple(block(n, "key", float(n % 2)) for n in range(1, 601))
    (axes,) = only_figure(baseline(learning_curve=points)).axes
    dots, line = axes.lines
    assert list(dots.get_ydata()) == [0.5] * 150
    assert list(dots.get_xdata())[:2] == [2.5, 6.5]
    assert line.get_xdata()[-1] == 600


def test_what_all_keys_share_is_not_in_their_titles() -> None:
    points = [block(n, f"crm-benchmark::{w}::simple", 0.5) for n, w in enumerate("AB", 1)]
    figure = only_figure(baseline(learning_curve=points))
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
    with our_style():
        figures = {plot.name: lay_out(plot) for plot in plots_of(metrics)}
    of_other_runs = {"learning_curve", "calibration", "progression", "pareto"}
    assert list(figures) == [name for name in NAMES if name not in of_other_runs]

    def written(name: str) -> list[str]:
        return [text.get_text() for axes in figures[name].axes for text in axes.texts]

    assert written("success_by_complexity") == ["100.0%  n=1", "0.0%  n=1"]
    assert [label.get_text() for label in figures["success_by_turn"].axes[0].get_xticklabels()] == [
        "1\nn=2",
        "2\nn=1",
    ]
    assert written("cost_by_role") == ["1.23k", "not reported", "$0.0123", "$0.5000"]
    assert [label.get_text() for label in figures["failure_kinds"].axes[0].get_yticklabels()] == [
        "Wrong tool"
    ]


def test_a_baseline_becomes_a_point_of_the_history(measure: Measure) -> None:
    metrics = measure(
        *(
            session(f"c-{n}", meta={"execution_mode": "paired", "session_reward": {"score": 0.5}})
            for n in range(3)
        ),
        session("d", meta={"execution_mode": "coach", "session_reward": {"score": 0.9}}),
    )
    figures = RunFigures.of(metrics)
    assert (figures.mode, figures.strict_success, figures.conversations) == (
        "paired",
        metrics.strict_success,
        4,
    )
    assert figures.reward == metrics.reward_summary
    assert figures.reward.value == 0.6


def test_files_lie_beside_the_readme(tmp_path: Path, drawings: tuple[Drawing, ...]) -> None:
    folder = tmp_path / "plots"
    files = write_pictures(folder, drawings)
    assert [file.path.name for file in files] == [f"{name}.svg" for name in NAMES]
    assert [file.path.read_text() for file in files] == [drawing.svg for drawing in drawings]
    assert render_blocks([files[0].figure]) == (
        "![Strict success by complexity: the share of conversations that succeeded, with its 95% "
        "interval.](plots/success_by_complexity.svg)"
    )
    (named,) = write_pictures(folder, [replace(drawings[0], caption="a ](b) c")])
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
