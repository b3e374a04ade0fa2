"""HISTORY.md: the runs of a dataset in one table and one picture, and what changed from run to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from crm_assets.atlas.smoke import SmokeEntry
from crm_assets.reporting import markdown
from crm_assets.reporting.comparison import Comparison, comparison_summary
from crm_assets.reporting.comparison.wording import fact_values
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
    strong,
)
from crm_assets.reporting.formats import counted, dollars, interval, number, own_and_recorded, percent
from crm_assets.reporting.history.models import History, HistoryRun
from crm_assets.reporting.plots import PictureFile
from crm_assets.reporting.run_figures import Sample, samples_of
from crm_assets.reporting.smoke_runs import smoke_table

__all__ = ["RUN_COLUMNS", "notes_table", "render_history", "run_cells", "what_changed"]

RUN_COLUMNS = (
    Column("Run", "code"),
    Column("Agent"),
    Column("Mode"),
    Column("Sample"),
    *figures("Conversations", "Strict success", "95% interval", "State match", "Reward", "Tokens", "Cost"),
)
_FACTS_NAMED = 3
_FACTS_SHOWN = 10


def render_history(
    history: History,
    picture: PictureFile | None = None,
    newest: Comparison | str | None = None,
    smoke: Sequence[SmokeEntry] = (),
) -> str:
    """Return the page as Markdown.

    Args:
        history: what it shows.
        picture: the progression, in a folder beside the page.
        newest: the newest run compared with the one before, or why they cannot be compared.
        smoke: the smoke runs, oldest first.
    """
    lead = (*_lead(history), *([picture.figure] if picture else []))
    return markdown.render(
        Document(("History of ", code(history.dataset)), lead, tuple(_sections(history, newest, smoke)))
    )


def _sections(
    history: History, newest: Comparison | str | None, smoke: Sequence[SmokeEntry]
) -> Iterator[Section]:
    if history.runs:
        samples = samples_of(run.figures for run in history.runs if run.figures)
        rows = (run_cells(run, samples) for run in history.runs)
        yield Section("Runs", (Table.of(RUN_COLUMNS, rows), *_samples(samples)))
    if newest is not None:
        blocks = (newest,) if isinstance(newest, str) else comparison_summary(newest)
        yield Section("Newest run compared with the one before", blocks)
    if noted := notes_table(history.runs):
        yield Section("Notes and tags", (noted,))
    if smoke:
        yield Section("Smoke runs", (smoke_table(smoke),))
    problems = [(code(run.run), f": {run.problem}") for run in history.runs if run.problem]
    if problems:
        yield Section("Runs without figures", (Points(tuple(problems)),))
    changes = [block for run in reversed(history.runs[1:]) for block in _changes(run)]
    if changes:
        yield Section("Changed settings from run to run", tuple(changes))


def _samples(samples: Mapping[Sample, str]) -> Iterator[Block]:
    """Yield what the samples are, if there are several."""
    if len(samples) > 1:
        (newest, *others) = samples
        yield "Only runs of one sample are comparable. Against sample A, that of the newest run:"
        yield Points(tuple(f"{samples[each]}: {newest.differences(each)}." for each in others))


def run_cells(run: HistoryRun, samples: Mapping[Sample, str]) -> tuple[Cell, ...]:
    """Return a run's row under `RUN_COLUMNS`."""
    figures = run.figures
    if figures is None:
        return (run.run, *[None] * (len(RUN_COLUMNS) - 1))
    repeats = figures.origin.label if figures.origin else ""
    part = f"{figures.subset.part} part" if figures.subset else ""
    return (
        run.run,
        ", ".join(filter(None, (figures.who, repeats, part))),
        figures.mode,
        samples[figures.sample],
        figures.size,
        percent(figures.strict_success)
        + ("*" if figures.without_verdict else "")
        + ("" if figures.taught_by == 0 else "†"),
        interval(figures.strict_success),
        percent(figures.state_match),
        number(figures.reward.mean, 3),
        figures.tokens
        if figures.recorded_tokens is None
        else own_and_recorded(number(figures.tokens), number(figures.recorded_tokens)),
        own_and_recorded(dollars(figures.cost_usd), dollars(figures.recorded_cost_usd)),
    )


def notes_table(runs: Iterable[HistoryRun]) -> Table | None:
    """Return what people noted of the runs, newest run first; None if nothing."""
    rows: list[tuple[Cell, ...]] = []
    for run in reversed([run for run in runs if run.tags or run.notes]):
        tags = ", ".join(run.tags) or None
        if not run.notes:
            rows.append((run.run, tags, None, None, None))
        rows += ((run.run, tags, each.text, each.author, each.at[:10]) for each in run.notes)
    columns = (Column("Run", "code"), Column("Tags"), Column("Note"), Column("By"), Column("On"))
    return Table.of(columns, rows) if rows else None


def what_changed(run: HistoryRun) -> str:
    """Return the names of the settings that changed since the run before, in short."""
    names = [change.fact for change in run.changes]
    more = len(names) - _FACTS_NAMED
    return ", ".join(names[:_FACTS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _lead(history: History) -> Iterator[Text]:
    if not history.runs:
        yield "This dataset has no finished runs yet."
        return
    count = len(history.runs)
    yield f"{counted(count, 'finished run')}, oldest first."
    parts = sum(1 for run in history.runs if run.figures and run.figures.subset)
    if parts:
        yield (
            f"{parts:,} of these runs ran a part of the dataset, as the arms of a study do: they are in "
            "neither the picture nor the comparison."
        )
    samples = {run.run for run in history.samples}
    figured = [run for run in history.runs if run.figures and not run.figures.subset]
    repeats = [run for run in figured if run.run not in samples]
    if repeats:
        yield (
            f"{len(repeats):,} of these runs {'repeats' if len(repeats) == 1 else 'repeat'} what another "
            "one measured: no new sample, so neither in the picture nor in the comparison."
        )
    if any(run.figures and run.figures.without_verdict for run in history.runs):
        yield "* Some conversations have no verdict; the run's README has the bounds."
    remembered = [run.figures for run in history.runs if run.figures and run.figures.taught_by != 0]
    if remembered:
        unknown = sum(1 for figures in remembered if figures.taught_by is None)
        which = f" In {counted(unknown, 'run')} it is not recorded which conversations those were."
        yield (
            "† Started from a playbook that conversations of the same run had taught before: a rise may be "
            "memory of them, not learning that carries over."
        ) + (which if unknown else "")
    revisions = {run.figures.dataset_revision for run in history.runs if run.figures}
    if len(revisions) > 1:
        yield (
            strong(f"The dataset changed: these runs used {len(revisions)} revisions of it."),
            " Compare runs of one revision, or only the conversations that did not change (",
            code("crm-assets compare --intersection"),
            ").",
        )
    if count > 1:
        yield (
            "To see whether two runs differ by more than chance, use ", code("crm-assets compare"), ".",
        )  # fmt: skip


def _changes(run: HistoryRun) -> Iterator[Block]:
    if not run.changes:
        yield code(run.run), ": no recorded setting changed."
        return
    lines: list[Text] = []
    for change in run.changes[:_FACTS_SHOWN]:
        before, after = fact_values(change)
        lines.append((code(change.fact), f": {before} → {after}"))
    if (more := len(run.changes) - _FACTS_SHOWN) > 0:
        lines.append(f"{more} more, in history.json")
    yield code(run.run), ":"
    yield Points(tuple(lines))
