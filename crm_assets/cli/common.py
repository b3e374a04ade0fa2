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
    from crm_assets.atlas.config_file import ModelRole
    from crm_assets.atlas.plan import AgentKind, SessionPlan
    from crm_assets.engine import Progress
    from crm_assets.harness import AgentName, AgentSpec
    from crm_assets.workspace.project import Project

__all__ = [
    "agent_options",
    "agent_spec",
    "describe_agent",
    "live_progress",
    "model_options",
    "plan_options",
    "progress_lines",
    "relative",
    "session_plan",
]

_Command = TypeVar("_Command", bound=Callable[..., Any])

AGENTS = ("replay", "noop", "recorded")
AGENT_KINDS = ("atlas", "student", *AGENTS)


def plan_options(command: _Command) -> _Command:
    """The options that say who works on a baseline, and how much at a time."""
    for option in (
        click.option("--sessions", type=click.IntRange(min=1), help="Conversations at a time (in a run)."),
        click.option("--workers", type=click.IntRange(min=1), default=1,
                     help="Processes, where no model is asked."),
        click.option("--recorded", type=click.Path(path_type=Path),
                     help="The past results file that the agent 'recorded' takes its calls from."),
        click.option("--agent", type=click.Choice(AGENT_KINDS), default="atlas", show_default=True,
                     help="Who works: the Atlas loop, its student alone, the ground truth, nobody, or a "
                     "past run."),
    ):  # fmt: skip
        command = option(command)
    return command


def model_options(command: _Command) -> _Command:
    """The options of agents that ask language models."""
    for option in (
        click.option("--replay", metavar="RUN", help="Answer all calls from a recorded run: its key or "
                     "its ledger."),
        click.option("--budget-tokens", type=click.IntRange(min=1), help="Stop at so many tokens."),
        click.option("--budget-usd", type=click.FloatRange(min=0, min_open=True), help="Stop at so many "
                     "dollars; what is done is kept."),
        click.option("--epochs", type=click.IntRange(min=1), default=1, show_default=True,
                     help="How often every conversation is run."),
        click.option("--engine", type=click.Choice(("crm_assets", "sdk")),
                     help="Who drives sessions: this project, or the Atlas SDK."),
        click.option("--feedback", type=click.Choice(("none", "verdicts", "oracle")),
                     help="What judges and learner are told of the verdicts."),
        click.option("--mode", type=click.Choice(("auto", "paired", "coach")),
                     help="The mode of every session."),
        click.option("--learning", type=click.Choice(("on", "frozen", "off")),
                     help="Whether sessions learn, only use what was learnt, or neither."),
        *(click.option(f"--{role}", metavar="PROVIDER/MODEL", help=f"Another {role} model.")
          for role in ("learner", "judge", "teacher", "student")),
        click.option("--config", type=click.Path(path_type=Path), help="An Atlas configuration; left "
                     "out, configs/atlas/crm_harness.dev.yaml."),
    ):  # fmt: skip
        command = option(command)
    return command


def session_plan(
    agent: AgentKind,
    *,
    project: Project,
    dataset: str,
    recorded: Path | None = None,
    workers: int = 1,
    sessions: int | None = None,
    **chosen: Any,
) -> SessionPlan:
    """The plan that the options name.

    Args:
        agent: who works.
        project: where runs are looked up.
        dataset: whose runs they are.
        recorded: of the agent `recorded`.
        workers: processes.
        sessions: at a time.
        chosen: the options of `model_options`.

    Raises:
        InputError: options do not go together, or name what is not there.
    """
    from crm_assets.atlas.plan import SessionPlan, find_ledger

    if recorded is not None and not recorded.is_file():
        raise InputError(f"{recorded} is not a file: give --recorded a past results file.")
    roles: tuple[ModelRole, ...] = ("student", "teacher", "judge", "learner")
    models = {role: name for role in roles if (name := chosen[role])}
    return SessionPlan(
        agent=agent,
        recorded=recorded,
        config=chosen["config"],
        models=models,
        learning=chosen["learning"],
        mode=chosen["mode"],
        feedback=chosen["feedback"],
        engine=chosen["engine"],
        epochs=chosen["epochs"],
        concurrency=sessions,
        workers=workers,
        budget_usd=chosen["budget_usd"],
        budget_tokens=chosen["budget_tokens"],
        replay=find_ledger(project, dataset, chosen["replay"]) if chosen["replay"] else None,
    )


def describe_agent(plan: SessionPlan, project: Project) -> str:
    """Who works, and on which models: whoever has keys set must see that they are used."""
    if not plan.asks_models:
        return plan.agent

    from crm_assets.atlas.plan import model_run

    config = model_run(plan, project).config
    roles = config.models() if plan.agent == "atlas" else {"student": config.models()["student"]}
    return f"{plan.agent} ({', '.join(dict.fromkeys(spec.name for spec in roles.values()))})"


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

    from crm_assets.llm.spending import spent_so_far

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
            rate = _rate(progress.rate_per_second)
            if progress.eta_seconds is not None:
                rate += f", {progress.eta_seconds:,.0f} s to go"
            if progress.done:
                rate += f", {progress.succeeded / progress.done:.0%} right"
            if progress.spent is not None:
                rate += f", {spent_so_far(progress.spent)}"
            bars.update(row, completed=progress.done, total=progress.total, rate=rate)

        yield report


def _rate(per_second: float) -> str:
    """Conversations a second, or a minute where they are few."""
    if not per_second:
        return ""
    return f"{per_second:,.0f}/s" if per_second >= 1 else f"{per_second * 60:,.1f}/min"


@contextmanager
def progress_lines() -> Iterator[None]:
    """Show what the lineage tells of its progress, a line each, on stderr."""
    from crm_assets.defs.assets.progress import PROGRESS_LOGGER

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
