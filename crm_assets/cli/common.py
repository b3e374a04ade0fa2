"""Helpers of several commands: the agent in words, progress, paths, JSON."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.workspace.stored import TRANSFERS_LOGGER

if TYPE_CHECKING:
    from crm_assets.atlas.plan import SessionPlan
    from crm_assets.engine import Progress
    from crm_assets.workspace.baseline_files import RunFiles
    from crm_assets.workspace.project import Project

__all__ = [
    "counting",
    "describe_agent",
    "json_option",
    "live_progress",
    "print_figures",
    "print_json",
    "progress_lines",
    "relative",
    "show_transfers",
]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def print_json(value: object) -> None:
    """Print models, dataclasses and plain values as JSON."""
    from pydantic_core import to_json

    click.echo(to_json(value, indent=2).decode())


def print_figures(paths: RunFiles, *, as_json: bool) -> None:
    """Print the headline figures of a scored run, or all of its metrics as JSON."""
    from crm_assets.reporting import read_metrics, summarize
    from crm_assets.reporting.terminal import show

    metrics = read_metrics(paths.metrics)
    if as_json:
        print_json(metrics)
    else:
        show(summarize(metrics))


def describe_agent(plan: SessionPlan, project: Project, dataset: str) -> str:
    """Return the agent and its models, which a user with keys must see before they are called.

    Raises:
        ConfigError: the configuration cannot be used, or a model cannot be called.
        InputError: the run to replay has no ledger, or the agent's file cannot be read.
    """
    from crm_assets.atlas.run_plan import load_run, scripted_agent

    if not plan.asks_models:
        from crm_assets.harness import make_agent

        make_agent(scripted_agent(plan, project))
        return plan.agent

    from crm_assets.atlas.model_run import require_models

    run = load_run(plan, project, dataset)
    require_models(run, project)
    models, own = run.config.models(), run.config.config.agent.own
    asked = [spec.name for role, spec in models.items() if plan.agent == "atlas" or role == "student"]
    return f"{plan.agent} ({', '.join(dict.fromkeys([own, *asked] if own else asked))})"


_LINE_SECONDS = 10.0


@contextmanager
def live_progress(label: str) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar on stderr, with rate and time left; yield the callback that moves it.

    Where stderr is no terminal, it is a line every few seconds.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    from crm_assets.llm.spending import spent_so_far

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        console=Console(stderr=True),
        transient=True,
    )
    last = time.monotonic()
    with bars:
        row = bars.add_task(label, total=None, rate="")

        def report(progress: Progress) -> None:
            parts = [_rate(progress.rate_per_second)]
            if progress.eta_seconds is not None:
                parts.append(f"{progress.eta_seconds:,.0f} s left")
            if progress.done:
                parts.append(f"{progress.succeeded / progress.done:.0%} right")
            if progress.spent is not None:
                parts.append(spent_so_far(progress.spent))
            if progress.activity is not None:
                parts.append(progress.activity)
            rate = ", ".join(part for part in parts if part)
            nonlocal last
            if not bars.console.is_terminal and time.monotonic() - last >= _LINE_SECONDS:
                last = time.monotonic()
                click.echo(f"{label}: {progress.done:,}/{progress.total:,}, {rate}", err=True)
            bars.update(row, completed=progress.done, total=progress.total, rate=rate)

        yield report


@contextmanager
def counting(label: str, unit: str = "sessions") -> Iterator[Callable[[int], None]]:
    """Yield a callback for the number of things done, which is printed on stderr every few seconds."""
    last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_SECONDS:
            last = time.monotonic()
            click.echo(f"{label}: {done:,} {unit} …", err=True)

    yield report


def _rate(per_second: float) -> str:
    """Return the rate in conversations a second, or a minute if it is low."""
    if not per_second:
        return ""
    return f"{per_second:,.0f}/s" if per_second >= 1 else f"{per_second * 60:,.1f}/min"


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"  {record.getMessage()}", err=True)


@contextmanager
def progress_lines() -> Iterator[None]:
    """Print the lineage's progress on stderr, a line for each message."""
    from crm_assets.defs.assets.progress import PROGRESS_LOGGER

    logger = logging.getLogger(PROGRESS_LOGGER)
    handler, level, propagate = _Lines(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def show_transfers() -> None:
    """Print from here on what a store has to tell on stderr: long transfers, and outages."""
    logger = logging.getLogger(TRANSFERS_LOGGER)
    logger.addHandler(_Lines())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def relative(path: Path) -> str:
    """Return `path` relative to the current folder if it is inside."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
