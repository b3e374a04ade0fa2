"""HISTORY.md: the runs of a dataset in one table and one picture, and what changed between neighbours."""

from __future__ import annotations

from crm_assets.reporting.comparison import Comparison, render_markdown
from crm_assets.reporting.comparison.wording import fact_values
from crm_assets.reporting.formats import NOTHING, counted, dollars, interval, number, percent
from crm_assets.reporting.history.models import History, HistoryRun
from crm_assets.reporting.markdown import code, escape, table
from crm_assets.reporting.plots import PictureFile

__all__ = ["newest_text", "render_history", "run_cells", "what_changed"]

HEADER = (
    "Run",
    "Agent",
    "Mode",
    "Strict success",
    "95% interval",
    "State match",
    "Reward",
    "Tokens",
    "Cost",
)
_TEXTS = 3  # columns to the left
_FACTS_NAMED = 3
_FACTS_SHOWN = 10


def render_history(
    history: History, picture: PictureFile | None = None, newest: Comparison | str | None = None
) -> str:
    """The page.

    Args:
        history: what it shows.
        picture: the progression, in a folder beside the page.
        newest: the newest run against the one before, or why they cannot be compared.
    """
    parts = [f"# History of {code(history.dataset)}", _lead(history)]
    if picture is not None:
        parts.append(picture.markdown)
    if history.runs:
        parts.append("## Runs\n\n" + table(HEADER, map(run_cells, history.runs), left=_TEXTS))
    if newest is not None:
        parts.append("## The newest against the one before\n\n" + newest_text(newest))
    problems = [run for run in history.runs if run.problem]
    if problems:
        lines = [f"- {code(run.run)}: {escape(run.problem or '')}" for run in problems]
        parts.append("## Without figures\n\n" + "\n".join(lines))
    changed = [_changes(run) for run in history.runs[1:]]
    if changed:
        parts.append("## What changed from each run to the next\n\n" + "\n\n".join(reversed(changed)))
    return "\n\n".join(parts) + "\n"


def run_cells(run: HistoryRun) -> tuple[str, ...]:
    """A run's row of the table, under `HEADER`."""
    figures = run.figures
    if figures is None:
        return (code(run.run), *[NOTHING] * (len(HEADER) - 1))
    agent = " ".join(
        part for part in (figures.agent, f"({figures.model})" if figures.model else "") if part
    )
    return (
        code(run.run),
        escape(agent) or NOTHING,
        escape(figures.mode),
        percent(figures.strict_success) + ("*" if figures.without_verdict else ""),
        interval(figures.strict_success),
        percent(figures.state_match),
        number(figures.reward.mean, 3),
        number(figures.tokens),
        dollars(figures.cost_usd),
    )


def newest_text(newest: Comparison | str) -> str:
    """The newest run against the one before, in Markdown."""
    return escape(newest) if isinstance(newest, str) else render_markdown(newest)


def what_changed(run: HistoryRun) -> str:
    """The names of what changed since the run before, in short."""
    names = [change.fact for change in run.changes]
    more = len(names) - _FACTS_NAMED
    return ", ".join(names[:_FACTS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _lead(history: History) -> str:
    if not history.runs:
        return "No run of this dataset is finished yet."
    count = len(history.runs)
    lines = [f"{counted(count, 'finished run')}, oldest first."]
    if any(run.figures and run.figures.without_verdict for run in history.runs):
        lines.append("\\* Some conversations have no verdict: see the run's README for the bounds.")
    revisions = {run.figures.dataset_revision for run in history.runs if run.figures}
    if len(revisions) > 1:
        lines.append(
            f"**The dataset changed: these runs are on {len(revisions)} revisions of it.** Compare only "
            "runs of one revision, or what is the same in both (`crm-assets compare --intersection`)."
        )
    if count > 1:
        lines.append("Whether two of them differ by more than chance: `crm-assets compare` says.")
    return "\n\n".join(lines)


def _changes(run: HistoryRun) -> str:
    if not run.changes:
        return f"**{code(run.run)}** – nothing that the sessions tell of: another draw of the same."
    lines = []
    for change in run.changes[:_FACTS_SHOWN]:
        before, after = fact_values(change)
        lines.append(f"- {code(change.fact)}: {escape(before)} → {escape(after)}")
    if (more := len(run.changes) - _FACTS_SHOWN) > 0:
        lines.append(f"- and {more} more, in history.json")
    return f"**{code(run.run)}**\n\n" + "\n".join(lines)
