"""`crm-assets runs import`: a past results file as a baseline."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crm_assets.cli.common import json_option, print_figures, progress_lines, relative
from crm_assets.cli.going_on import set_next_command
from crm_assets.cli.names import dataset_option, run_option
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, claim_run, release_run
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.project import Project, find_project
from crm_assets.workspace.run_names import find_run

if TYPE_CHECKING:
    from crm_assets.imports import ImportedRun

__all__ = ["import_command"]


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@dataset_option(help="Dataset of the past run: a file's stem in data/conversations.")
@run_option()
@click.option("--label", default="", help="Added to the run key, as in 20260131T093000Z-label.")
@json_option
def import_command(*, file: Path, dataset: str, run: str | None, label: str, as_json: bool) -> None:
    """Make a baseline of the results file of a past run.

    FILE is one of CL-Bench's, the output of `crm-assets harness`, a baseline's sessions.jsonl, or a log of
    Inspect (.eval) whose samples are conversations of the dataset, by ID.

    Its calls are repeated on the sandbox and scored here; the verdicts of FILE are kept for comparison.
    The same command with --run resumes a stopped import.
    """
    project = find_project()
    require_dataset(project, dataset)
    if not file.is_file():
        raise InputError(f"{file} is not a file: give the results file of a past run.")
    key = _key(project, dataset, run, label)
    click.echo(f"Baseline {key}, imported from {relative(file)}", err=True)

    paths = BaselinePaths.of(project, key)
    words = ["crm-assets", "runs", "import", str(file), "--dataset", dataset, "--run", str(key.run)]
    set_next_command(lambda: shlex.join(words) if paths.folder.exists() else None)

    from crm_assets.imports import import_run

    try:
        with progress_lines():
            made = import_run(project, file, key)
    finally:
        if run is None:
            release_run(project, key)  # what failed before it wrote anything leaves no trace

    print_figures(made.paths, as_json=as_json)
    for line in (*_overlap_lines(made), f"README: {relative(made.paths.readme)}"):
        click.echo(line, err=as_json)


def _key(project: Project, dataset: str, run: str | None, label: str) -> BaselineKey:
    if run is None:
        return BaselineKey(dataset, claim_run(project, dataset, RunKey.now(label)))
    key = find_run(project, dataset, run).run
    if label and key.label and key.label != label:
        raise InputError(f"The run key {run} has a label already; give it, or --label, but not both.")
    return BaselineKey.of(dataset, f"{key.timestamp}-{label}" if label else key)


def _overlap_lines(made: ImportedRun) -> list[str]:
    """Return how the file and the dataset match, a line for each fact."""
    from crm_assets.reporting.formats import counted
    from crm_assets.reporting.wording import describe_not_recorded

    coverage, lines = made.coverage, []
    scored = coverage.shared - sum(coverage.not_scored.values())
    lines.append(f"Scored again: {counted(scored, 'conversation')} of {counted(coverage.lines, 'line')}.")
    if coverage.not_scored:
        lines.append(f"Not recorded: {describe_not_recorded(coverage.not_scored)}.")
        lines += [f"  For example: {sentence}" for sentence in coverage.not_scored_examples]
    if coverage.not_in_file:
        lines.append(f"Not recorded: {coverage.not_in_file:,} of the dataset that are not in the file.")
    if coverage.not_in_dataset:
        some = ", ".join(coverage.not_in_dataset_examples)
        lines.append(
            f"Left out: {coverage.not_in_dataset:,} of the file, not in the dataset (such as {some})."
        )
    if coverage.unreadable_arguments:
        calls = counted(coverage.unreadable_arguments, "call")
        lines.append(f"Scored as they are: {calls} whose arguments are text, but not a JSON object.")
    if coverage.repeated:
        lines.append(f"Left out: {coverage.repeated:,} earlier lines of repeated conversations.")
    lines.append("Verdicts, the file's / ours:")
    lines += [
        f"  {measure.replace('_', ' ')}: "
        + (", ".join(f"{pair} {count:,}" for pair, count in counts.items()) or "none")
        for measure, counts in made.verdicts.items()
    ]
    return lines
