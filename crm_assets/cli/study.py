"""`crm-assets study`: what learning gains on conversations that it never saw, with a control."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import describe_agent, json_option, print_json, progress_lines, relative
from crm_assets.cli.consent import confirm_cost, yes_option
from crm_assets.cli.going_on import flags_of, set_next_command
from crm_assets.cli.names import dataset_option, run_option
from crm_assets.cli.plan_options import PlanCommand
from crm_assets.errors import InputError
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import find_project

if TYPE_CHECKING:
    from crm_assets.atlas.plan import SessionPlan

__all__ = ["study"]

_ARMS = ("off", "frozen", "on")


@click.command(cls=PlanCommand, agents=("atlas",))
@dataset_option()
@click.option(
    "--arms", default=",".join(_ARMS), show_default=True, help="Arms to compare: on, with off or frozen."
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How often each arm is scored.",
)
@click.option(
    "--split",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of the conversations to teach on.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the split.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Conversations, from the start of the dataset; left out, all.",
)
@run_option(help="Key of the study, YYYYMMDDTHHMMSSZ[-label]; left out, a new one.")
@click.option("--unrecorded", is_flag=True, help="Do not record the study as an asset of Dagster.")
@yes_option
@json_option
def study(
    *,
    dataset: str,
    arms: str,
    repeats: int,
    split: float,
    seed: int,
    limit: int | None,
    run: str | None,
    plan: SessionPlan,
    unrecorded: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Study what learning gains, with a control.

    One arm learns on a part of the conversations; all arms are then scored on the others. The same command
    with --run resumes a stopped study.
    """
    project = find_project()
    path = require_dataset(project, dataset)
    named = tuple(arm.strip() for arm in arms.split(",") if arm.strip())
    if unknown := [arm for arm in named if arm not in _ARMS]:
        raise InputError(f"There is no arm {unknown[0]!r}; choose of {', '.join(_ARMS)}.")
    key = BaselineKey.of(dataset, RunKey.now("study") if run is None else run)
    agent = describe_agent(plan, project, dataset)

    from crm_assets.atlas.study import StudyPlan
    from crm_assets.conversations.split import Split
    from crm_assets.database import a_command, hold
    from crm_assets.orchestration.materialize import open_instance
    from crm_assets.orchestration.study import begin_study, estimate_study, run_study
    from crm_assets.reporting.study import study_summary
    from crm_assets.reporting.terminal import show
    from crm_assets.workspace.files import sha256_of_file
    from crm_assets.workspace.study_files import StudyPaths

    wanted = StudyPlan(
        dataset=dataset,
        run=str(key.run),
        dataset_revision=sha256_of_file(path),
        arms=named,
        repeats=repeats,
        split=Split(share=split, seed=seed, limit=limit),
        sessions=plan,
    )
    options = {
        "--dataset": dataset,
        "--run": key.run,
        "--arms": arms,
        "--repeats": repeats,
        "--split": split,
        "--seed": seed,
    }
    words = [str(word) for option in options.items() for word in option]
    paths = StudyPaths.of(project, key)
    with hold(project, paths.folder, a_command()):
        confirm_cost(estimate_study(project, wanted), yes=yes)
        begin_study(project, wanted)
        set_next_command(lambda: shlex.join(["crm-assets", "study", *words, *flags_of(plan, limit=limit)]))
        click.echo(f"Study {key}, agent {agent}", err=True)
        with open_instance(project) as instance, progress_lines():
            done = run_study(
                instance,
                project,
                wanted,
                tell=lambda line: click.echo(line, err=True),
                record=not unrecorded,
            )
    if as_json:
        print_json(done)
    else:
        show(*study_summary(done))
    click.echo(f"Page: {relative(paths.readme)}, {relative(paths.report)}", err=as_json)
