"""A study's page: one for README, HTML, the terminal and Dagster."""

from __future__ import annotations

from collections.abc import Iterator

from crm_assets.reporting import markdown
from crm_assets.reporting.comparison.models import MeasureComparison
from crm_assets.reporting.comparison.power import ALPHA
from crm_assets.reporting.comparison.wording import (
    FIGURES,
    TEST_NAMES,
    detectable,
    difference,
    interval,
    p_value,
)
from crm_assets.reporting.comparison.wording import figures as measure_cells
from crm_assets.reporting.document import (
    Block,
    Cell,
    Column,
    Document,
    Points,
    Section,
    Table,
    Text,
    code,
    figures,
    note,
    strong,
)
from crm_assets.reporting.formats import counted, dollars, number, plain, share
from crm_assets.reporting.study.models import Gain, Learning, Study

__all__ = ["headline", "render_study_html", "render_study_markdown", "study_summary"]

_SHORT = 12


def render_study_markdown(study: Study) -> str:
    """Return the page as Markdown."""
    return markdown.render(_document(study))


def render_study_html(study: Study) -> str:
    """Return the page as HTML."""
    from crm_assets.reporting import html  # noqa: PLC0415  (heavy)

    return html.render(_document(study))


def study_summary(study: Study) -> tuple[Block, ...]:
    """Return what a terminal shows: the result, and the arms."""
    return (*_lead(study), _gains(study), _arms(study))


def headline(gain: Gain) -> str:
    """Return what learning gained on conversations that it never saw, in a sentence."""
    paired = gain.paired
    if paired.difference is None:
        return "No held-out conversation has a verdict in both arms, so nothing is known of a gain."
    points = f"{difference('strict_success', paired.difference)} points of strict success"
    how = f"95% interval {interval('strict_success', paired)}; p = {p_value(paired.p_value)}"
    if paired.p_value is not None and paired.p_value <= ALPHA:
        word = "helped" if paired.difference > 0 else "harmed"
        return f"Learning {word} on conversations that it never saw: {points} ({how})."
    return f"No sure gain of learning on conversations that it never saw: {points} ({how})."


def _document(study: Study) -> Document:
    return Document(
        title=("Study of learning on ", code(study.plan.dataset)),
        lead=_lead(study),
        sections=(
            _gains(study),
            _arms(study),
            Section("What was learned", tuple(_learned(study.learning))),
            Section("What it cost", (Points(tuple(_cost(study))),)),
            Section("How it was done", (Points(tuple(_method(study))),)),
            Section("Runs", (_runs(study),)),
        ),
    )


def _lead(study: Study) -> tuple[Text, ...]:
    needed = study.gain.needed
    if needed is None:
        enough = "The differences have no spread that says how many conversations a sure answer would need."
    else:
        enough = (
            f"If gain and spread are as observed, a sure answer (80% power) needs {number(needed)} "
            f"held-out conversations; this study had {number(study.gain.paired.conversations)}."
        )
    return strong(headline(study.gain)), enough


def _gains(study: Study) -> Section:
    titles = {
        "held-out": "never seen",
        "seen": "taught on (memory helps)",
    }
    found = [study.gain, study.seen, *([study.noise] if study.noise else [])]
    rows: list[tuple[Cell, ...]] = []
    for each in found:
        compared = _compared(each)
        what = titles[each.on] if each is not study.noise else "never seen, nothing learned (noise)"
        rows.append(
            (
                f"{each.arm} over {each.over}",
                what,
                *measure_cells(compared),
                p_value(each.paired.p_value),
                TEST_NAMES[each.paired.test],
                detectable(compared),
                each.paired.conversations,
            )
        )
    columns = (
        Column("Arms"),
        Column("Scored on"),
        *FIGURES,
        Column("p", "figure"),
        Column("Test", wide=True),
        Column("Minimum detectable difference", "figure", wide=True),
        Column("n", "figure"),
    )
    meaning = (
        "Strict success, B over A, in percentage points; a pair is one content, with its mean over copies "
        f"and {counted(study.plan.repeats, 'repeat')}."
    )
    return Section("Gain", (Table.of(columns, rows), note(meaning)))


def _compared(gain: Gain) -> MeasureComparison:
    return MeasureComparison(
        measure="strict_success",
        paired=gain.paired,
        without_verdict=gain.without_verdict,
        without_verdict_a=0,
        without_verdict_b=0,
    )


def _arms(study: Study) -> Section:
    columns = (
        Column("Arm"),
        *figures("Strict success, held out", "Tokens per conversation", "Cost per conversation", "Entries"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            arm.name,
            share(arm.held_out),
            number(arm.tokens_per_conversation),
            dollars(arm.cost_usd_per_conversation),
            next((run.playbook_entries for run in arm.runs if run.use == "held-out"), None),
        )
        for arm in study.arms
    ]
    return Section("Arms", (Table.of(columns, rows),))


def _learned(learning: Learning) -> Iterator[Block]:
    yield (
        f"{counted(learning.entries, 'entry', 'entries')}, version {learning.version}, from "
        f"{counted(learning.conversations, 'conversation')} (", code(learning.sha256[:_SHORT]), ").",
    )  # fmt: skip
    if learning.shown:
        rows = (
            (each.audience, plain(each.cue), plain(each.imperative), each.tool) for each in learning.shown
        )
        columns = (Column("For"), Column("When"), Column("Do"), Column("Tool", "code"))
        yield Table.of(columns, rows)
    if learning.entries > len(learning.shown):
        yield f"{learning.entries - len(learning.shown):,} more: crm-assets playbook show"


def _cost(study: Study) -> Iterator[Text]:
    learning = study.learning
    cost = "unknown" if learning.cost_usd is None else dollars(learning.cost_usd)
    yield f"Teaching: {cost} and {number(learning.tokens)} tokens, all roles."
    if (study.gain.paired.difference or 0) <= 0:
        yield "There was no gain on the held-out part, so no price of a point."
        return
    usd = "unknown" if learning.cost_usd_per_point is None else dollars(learning.cost_usd_per_point)
    yield (
        f"For each point gained on the held-out part: {usd} and {number(learning.tokens_per_point)} "
        "tokens. That price is as uncertain as the gain."
    )


def _method(study: Study) -> Iterator[Text]:
    plan, split = study.plan, study.plan.split
    yield (
        f"Split by content, share {split.share:g}, seed {split.seed}: {study.taught:,} conversations to "
        f"teach on, {study.held_out:,} held out; each learning key on both sides, copies on one."
    )
    if study.left_out:
        left_out = counted(study.left_out, "conversation")
        yield f"Left out, since their learning key has one content: {left_out}."
    if study.copies:
        copies = counted(study.copies, "copy", "copies")
        yield f"{copies} of other conversations: each content counts once."
    yield "The arm on learned on the first part; then all arms were scored, learning frozen or off."
    yield (
        f"Each arm was scored {counted(plan.repeats, 'time')}, in interleaved order, with a playbook "
        "namespace of its own that was empty at the start."
    )
    for gain in (study.gain, study.seen):
        if gain.without_verdict:
            missing = counted(gain.without_verdict, "conversation")
            yield f"Without a verdict, {gain.on}: {missing}; in no figure."
    yield "Dataset revision ", code(plan.dataset_revision[:_SHORT]), "."


def _runs(study: Study) -> Table:
    columns = (
        Column("Run", "code"),
        Column("Arm"),
        Column("For"),
        *figures("Conversations", "Strict success", "Tokens", "Cost", "Entries at start"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            run.run,
            arm.name,
            run.use,
            run.conversations,
            share(run.strict_success),
            run.tokens,
            dollars(run.cost_usd),
            run.playbook_entries,
        )
        for arm in study.arms
        for run in arm.runs
    ]
    return Table.of(columns, rows)
