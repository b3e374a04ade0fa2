"""What several commands need: options, consoles, progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crm_assets.errors import InputError

if TYPE_CHECKING:
    from crm_assets.harness import AgentName, AgentSpec, Progress

__all__ = [
    "agent_options",
    "agent_spec",
    "live_progress",
    "progress_lines",
    "relative",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

AGENTS = ("replay", "noop", "recorded")


def agent_options(command: _Command) -> _Command:
    """The options that say who answers, and on how many processes."""
    for option in (
        click.option(
            "--sessions",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Conversations at a time, in each process.",
        ),
        click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True,
                     help="Processes to run side by side."),
        click.option("--recorded", type=click.Path(path_type=Path),
                     help="The past results file that the agent 'recorded' takes its calls from."),
        click.option("--agent", type=click.Choice(AGENTS), default="replay", show_default=True,
                     help="Who answers: the ground truth, nobody, or a past run."),
    ):  # fmt: skip
        command = option(command)
    return command


def agent_spec(agent: AgentName, recorded: Path | None) -> AgentSpec:
    """The agent that the options name.

    Raises:
        InputError: `--recorded` is missing, or is not for this agent.
    """
    from crm_assets.harness import AgentSpec

    if recorded is not None and not recorded.is_file():
        raise InputError(f"{recorded} is not a file: give --recorded a past results file.")
    return AgentSpec(name=agent, recorded=recorded)


@contextmanager
def live_progress(label: str) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on stderr, with rate and time to go; yields the callback that moves it.

    Where stderr is no terminal, nothing is drawn.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        row = bars.add_task(label, total=None, rate="")

        def report(progress: Progress) -> None:
            rate = f"{progress.rate_per_second:,.0f}/s" if progress.rate_per_second else ""
            if progress.eta_seconds is not None:
                rate += f", {progress.eta_seconds:,.0f} s to go"
            bars.update(row, completed=progress.done, total=progress.total, rate=rate)

        yield report


@contextmanager
def progress_lines() -> Iterator[None]:
    """Show what the lineage tells of its progress, a line each, on stderr."""
    from crm_assets.assets.progress import PROGRESS_LOGGER

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            click.echo(f"  {record.getMessage()}", err=True)

    logger = logging.getLogger(PROGRESS_LOGGER)
    handler, level, propagate = Lines(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def relative(path: Path) -> str:
    """`path` as a person in this folder would write it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
