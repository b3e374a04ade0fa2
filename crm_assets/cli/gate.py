"""`crm-assets gate`: stop a change that makes an agent worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.cli.names import DATASET, RUN
from crm_assets.errors import InputError
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.run_names import find_finished

if TYPE_CHECKING:
    from crm_assets.reporting.comparison.models import Measure
    from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["gate"]

# As `reporting.comparison.models.MEASURES`, which takes long to import; a test holds them together.
_MEASURES = ("strict_success", "turns_right", "state_match", "reward", "harness_reward")


_REFUSED = 5
"""Exit code of a gate that was not applied: 2, as of bad input elsewhere, says that nobody can tell."""


class _GateCommand(click.Command):
    """A command whose refusals differ from its verdicts in the exit code."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            error.show()
            raise click.exceptions.Exit(_REFUSED) from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            error.exit_code = _REFUSED
            raise


@click.command(cls=_GateCommand)
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.option("--against", type=RUN, metavar="RUN", help="Run to compare with; left out, the reference.")
@click.option(
    "--metric", type=click.Choice(_MEASURES), default="strict_success", show_default=True, help="Measure."
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0, max=100, min_open=True),
    default=2.0,
    show_default=True,
    help="Points (hundredths of the measure) by which the run may be worse.",
)
@click.option(
    "--intersection",
    is_flag=True,
    help="If the dataset changed between the runs, compare only the unchanged conversations.",
)
@click.option("--junit", type=click.Path(path_type=Path), help="JUnit XML file to write, for CI.")
@json_option
@click.pass_context
def gate(
    ctx: click.Context,
    *,
    dataset: str,
    run: str,
    against: str | None,
    metric: str,
    margin: float,
    intersection: bool,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Check that a run is not worse than the reference.

    Exits with 0 if it is not worse by more than the margin, 1 if it is, 2 if there are too few
    conversations to tell, and 5 if the gate cannot be applied: the runs cannot be compared, or the input is
    wrong.
    """
    from crm_assets.reporting.comparison.gate import gate_runs
    from crm_assets.reporting.comparison.gate_junit import render_junit
    from crm_assets.workspace.files import write_text

    project = find_project()
    judged = find_finished(project, dataset, run)
    found = gate_runs(
        _reference(project, dataset, against),
        judged,
        measure=cast("Measure", metric),
        margin=margin,
        intersection=intersection,
    )
    if junit is not None:
        write_text(junit, render_junit(found))
    if as_json:
        print_json(found)
    else:
        click.echo(found.summary)
    if junit is not None:
        click.echo(f"JUnit XML: {relative(junit)}", err=as_json)
    ctx.exit(found.exit_code)


def _reference(project: Project, dataset: str, against: str | None) -> BaselinePaths:
    """Return the run to compare with.

    Raises:
        InputError: none is named, and the dataset has no reference.
    """
    from crm_assets.workspace.reference import reference_run

    if against is not None:
        return find_finished(project, dataset, against)
    if (found := reference_run(project, dataset)) is None:
        raise InputError(
            f"Dataset {dataset} has no reference: set one with `crm-assets reference set {dataset} RUN`, "
            "or name a run with --against."
        )
    return found
