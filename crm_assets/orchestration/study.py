"""Runs a study: its arms as ordinary baselines, one after the other, and its page."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
from pydantic import ValidationError

from crm_assets.atlas.run_plan import load_run
from crm_assets.atlas.study import ArmRun, StudyPlan
from crm_assets.conversations import load_conversations
from crm_assets.conversations.split import split_conversations
from crm_assets.defs.assets.learning_study import study_materialization
from crm_assets.defs.partitions import register_dataset
from crm_assets.errors import ConfigError, InputError, first_line
from crm_assets.orchestration.materialize import LineageOptions, materialize_on, refresh_history
from crm_assets.reporting.estimate.run import RunEstimate, estimate_run, sum_estimates
from crm_assets.reporting.study import Study, render_study_html, render_study_markdown, study_result
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.files import sha256_of_file, write_json, write_text
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.study_files import StudyPaths

__all__ = ["begin_study", "estimate_study", "run_study"]


def begin_study(project: Project, plan: StudyPlan) -> StudyPaths:
    """Keep the plan of a study, so that the same study can be resumed.

    Raises:
        InputError: another study has this key, the dataset has changed or cannot be split.
        ConfigError: its sessions would need an approval before they teach.
    """
    dataset = require_dataset(project, plan.dataset)
    config = load_run(plan.sessions, project, plan.dataset).config.config
    if config.runtime_safety.review.require_approval:
        raise ConfigError(
            "With runtime_safety.review.require_approval the arm on learns nothing while the study runs; "
            "set it to false in the study's configuration (its playbooks are its own, and no other run "
            "reads them)."
        )
    split_conversations(load_conversations(dataset), plan.split)
    paths = StudyPaths.of(project, BaselineKey.of(plan.dataset, plan.run))
    if paths.plan.is_file():
        _require_same(paths, plan)
    else:
        write_json(paths.plan, plan.model_dump(mode="json"))
    if sha256_of_file(dataset) != plan.dataset_revision:
        raise InputError(f"Dataset {plan.dataset} has changed since the study began; start a new study.")
    return paths


def _require_same(paths: StudyPaths, plan: StudyPlan) -> None:
    try:
        before = StudyPlan.model_validate_json(paths.plan.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{paths.plan} is no plan of a study ({first_line(error)}); choose another --run."
        ) from error
    then, now = before.model_dump(mode="json"), plan.model_dump(mode="json")
    changed = [name for name in now if then[name] != now[name]]
    if changed:
        name = changed[0]
        raise InputError(
            f"Study {plan.run} cannot be resumed: {name} was {then[name]} and is now {now[name]}; use the "
            "same options, or another --run."
        )


def estimate_study(project: Project, plan: StudyPlan) -> RunEstimate | None:
    """Return what the runs that are not finished will cost together; None if nothing is to be paid."""
    left = (run for run in plan.runs() if not _paths(project, run).finished)
    return sum_estimates(
        [
            estimate_run(project, run.key.dataset, run.plan, files=_paths(project, run), subset=run.subset)
            for run in left
        ]
    )


def _paths(project: Project, run: ArmRun) -> BaselinePaths:
    return BaselinePaths.of(project, run.key)


def run_study(
    instance: dg.DagsterInstance,
    project: Project,
    plan: StudyPlan,
    *,
    tell: Callable[[str], None],
    record: bool = True,
) -> Study:
    """Run the arms that are not finished, and write the study's page; finished runs are kept.

    Args:
        instance: where the runs are recorded.
        project: where their files are.
        plan: of the study.
        tell: called with a sentence about each run.
        record: record the study as the asset `learning_study`.

    Raises:
        CrmAssetsError: a run failed; the same call resumes.
    """
    paths = begin_study(project, plan)
    runs = list(plan.runs())
    for number, run in enumerate(runs, start=1):
        done = _paths(project, run)
        if done.finished and done.manifest.is_file():
            tell(f"{number}/{len(runs)} {run.key.run}: finished before")
            continue
        tell(f"{number}/{len(runs)} {run.key.run}: {run.subset.part} part, arm {run.arm}")
        materialize_on(instance, project, run.key, _options(run))
    refresh_history(instance, plan.dataset)
    study = study_result(project, plan)
    write_text(paths.report, render_study_html(study))
    write_text(paths.readme, render_study_markdown(study))
    write_json(paths.document, study.model_dump(mode="json"))
    if record:
        register_dataset(instance, plan.dataset)
        instance.report_runless_asset_event(study_materialization(paths, study))
    return study


def _options(run: ArmRun) -> LineageOptions:
    return LineageOptions(plan=run.plan, subset=run.subset, accept_cost=True)
