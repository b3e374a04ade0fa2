"""`crm-assets runs`: the runs of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import json_option, print_json, relative
from crm_assets.cli.names import DATASET, RUN, dataset_option, run_option
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, is_planned, plan_run, runs_of
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey, RunKey, parse_dataset
from crm_assets.workspace.project import ARTIFACTS_VARIABLE, Project, find_project
from crm_assets.workspace.run_names import find_run
from crm_assets.workspace.stored import stored_artifacts

if TYPE_CHECKING:
    from crm_assets.reporting.run_list import ListedRun

__all__ = ["free_keys", "plan_keys", "runs"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@click.group()
def runs() -> None:
    """List, register, restore and import the runs of a dataset."""


@runs.command()
@dataset_option(help="Datasets, separated by commas: each run key is planned for all of them.")
@run_option(help="Run key to plan, YYYYMMDDTHHMMSSZ[-label]; left out, new ones.")
@click.option("--label", default="", help="Added to the run key, as in 20260131T093000Z-label.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Number of keys.")
def new(dataset: str, run: str | None, label: str, count: int) -> None:
    """Plan runs for later and print their partition keys.

    The UI's partition pickers then offer them.
    """
    project = find_project()
    names = list(dict.fromkeys(name.strip() for name in dataset.split(",")))
    for name in names:
        require_dataset(project, name)
    if run is not None and (label or count > 1):
        raise InputError("--run names one key, so it excludes --label and --count.")
    if run is None:
        keys = free_keys(project, names, count, label=label)
    else:
        keys = [BaselineKey.of(name, run) for name in names]
    plan_keys(project, keys)
    for key in keys:
        click.echo(key)


@runs.command(name="list")
@dataset_option()
@click.option("--tag", help="Only runs with this tag.")
@click.option("--smoke", is_flag=True, help="Only smoke runs, with their checklists.")
@json_option
def list_(dataset: str, tag: str | None, smoke: bool, as_json: bool) -> None:
    """List the runs of a dataset with state, score and cost."""
    project = find_project()
    if smoke:
        _list_smoke(project, parse_dataset(dataset), as_json=as_json)
        return

    from crm_assets.reporting.run_list import list_runs

    found = list_runs(project, parse_dataset(dataset))
    if not found:
        require_dataset(project, dataset)  # runs outlive the file
    if tag is not None:
        tags = {each for run in found for each in run.notes.tags}
        found = [run for run in found if tag in run.notes.tags]
        if not found:
            raise InputError(
                f"No run of {dataset} has the tag {tag!r}; tags: {', '.join(sorted(tags)) or 'none'}."
            )
    if as_json:
        print_json([_document(run) for run in found])
        return
    if not found:
        click.echo(
            f"Dataset {dataset} has no run yet; make one by crm-assets baseline --dataset {dataset}."
        )
        return
    _print(dataset, found)


def _list_smoke(project: Project, dataset: str, *, as_json: bool) -> None:
    from crm_assets.reporting.smoke_runs import smoke_runs, smoke_table
    from crm_assets.reporting.terminal import show

    entries = smoke_runs(project, dataset)
    if as_json:
        print_json(entries)
    elif entries:
        show(smoke_table(entries))
    else:
        click.echo(f"No smoke run yet; make one by crm-assets atlas smoke --dataset {dataset}.")


@runs.command()
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
def restore(dataset: str, run: str) -> None:
    """Bring back a baseline that --overwrite replaced.

    What is there now is moved aside, so that a second call brings it back.
    """
    project = find_project()
    paths = BaselinePaths.of(project, find_run(project, dataset, run))

    from crm_assets.database import a_command, hold

    with hold(project, paths.folder, a_command()):
        paths.restore()
    click.echo(f"Restored: {relative(paths.folder)}")


@runs.command()
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN, required=False)
def upload(dataset: str, run: str | None) -> None:
    """Upload runs that are only here to the artifact store.

    The store is that of CRM_ASSETS_ARTIFACTS. All runs of the dataset, or one: those from before a store
    was set, and those that one did not take.
    """
    project = find_project()
    copies = stored_artifacts(project)
    if copies is None:
        raise InputError(f"{ARTIFACTS_VARIABLE} names no store to upload to: set it to a URL (s3://…).")
    if run is None:
        chosen = list(runs_of(project, parse_dataset(dataset)))
    else:
        chosen = [BaselinePaths.of(project, find_run(project, dataset, run))]

    from crm_assets.database import a_command, hold
    from crm_assets.reporting.formats import counted

    for paths in (each for each in chosen if each.folder.is_dir()):
        with hold(project, paths.folder, a_command()):
            count = copies.publish(paths.folder)
        click.echo(f"{copies.url_of(paths.folder.parent)}: {counted(count, 'file')} uploaded")


def free_keys(
    project: Project, datasets: Sequence[str], count: int, *, label: str = ""
) -> list[BaselineKey]:
    """Return `count` run keys that none of `datasets` uses, for each of them, from the current second on.

    Raises:
        InputError: `label` cannot be part of a run key.
    """
    found: list[RunKey] = []
    run = RunKey.now(label)
    while len(found) < count:
        if not any(is_planned(BaselinePaths.of(project, BaselineKey(each, run))) for each in datasets):
            found.append(run)
        run = run.next_second()
    return [BaselineKey(dataset, run) for run in found for dataset in datasets]


def plan_keys(project: Project, keys: Sequence[BaselineKey]) -> None:
    """Plan the runs `keys`: give them folders, and register them in Dagster."""
    from crm_assets.defs.partitions import register
    from crm_assets.orchestration.materialize import open_instance

    with open_instance(project) as instance:
        for key in keys:
            register(instance, key)
            plan_run(project, key)


def _document(run: ListedRun) -> dict[str, object]:
    return {
        "run": str(run.key.run),
        "state": run.state,
        "note": run.note,
        "command": run.command,
        "agent": run.agent,
        "sample": run.sample,
        "conversations": run.conversations,
        "strict_success": run.strict_success,
        "reward": run.reward,
        "cost_usd": run.cost_usd,
        "recorded_cost_usd": run.recorded_cost_usd,
        "repeats": run.repeats,
        "tags": run.notes.tags,
        "notes": run.notes.notes,
        "age_seconds": round(run.age.total_seconds()),
    }


def _print(dataset: str, found: list[ListedRun]) -> None:
    from crm_assets.reporting.document import Column, Section, Table, figures
    from crm_assets.reporting.formats import dollars, number, own_and_recorded
    from crm_assets.reporting.terminal import show

    names = (Column("Run", "code"), Column("State"), Column("Agent"))
    noted = any(run.notes.lines for run in found)
    columns = (
        *names,
        *([Column("Tags and notes")] if noted else ()),
        *figures("Sample", "Strict success", "Reward", "Cost", "Age"),
    )
    rows = (
        (
            str(run.key.run),
            ", ".join(filter(None, (run.state, run.note))),
            ", ".join(filter(None, (run.agent, run.repeats))) or None,
            *([_noted(run)] if noted else ()),
            f"{run.sample}: {run.conversations}" if run.sample else None,
            run.strict_success,
            number(run.reward, 3),
            own_and_recorded(dollars(run.cost_usd), dollars(run.recorded_cost_usd)),
            _age(run.age),
        )
        for run in found
    )
    note = "Sample: runs of one letter are comparable; the number is that of their conversations."
    show(Section(f"Runs of {dataset}", (Table.of(columns, rows), note)))
    for command in filter(None, (run.command for run in found)):
        click.echo(f"Go on with: {command}")  # by itself, so that it is not broken


def _noted(run: ListedRun) -> str | None:
    """Return a run's tags and its newest note."""
    newest = [each.text for each in run.notes.notes[-1:]]
    return ": ".join(filter(None, (", ".join(run.notes.tags), *newest))) or None


def _age(age: timedelta) -> str:
    seconds = age.total_seconds()
    if seconds < 0:
        return "to come"
    for length, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= length:
            return f"{seconds // length:,.0f} {name}"
    return f"{seconds:.0f} s"
