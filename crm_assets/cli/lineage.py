"""`crm-assets lineage`: where a baseline came from, and whether its files still say so."""

from __future__ import annotations

import click

from crm_assets.cli.common import json_option, print_json
from crm_assets.cli.names import DATASET, RUN
from crm_assets.errors import CrmAssetsError
from crm_assets.workspace.project import find_project
from crm_assets.workspace.run_names import find_finished

__all__ = ["VerificationFailed", "lineage"]


class VerificationFailed(CrmAssetsError):
    """A baseline is not what it was, or does not follow from its sessions."""


@click.command()
@click.argument("dataset", type=DATASET)
@click.argument("run", type=RUN)
@click.option("--verify", is_flag=True, help="Check every hash and figure; exit code 1 if one changed.")
@json_option
def lineage(*, dataset: str, run: str, verify: bool, as_json: bool) -> None:
    """Show the origin of a baseline, or verify its files.

    RUN is a run's key, the start of it, or latest.
    """
    project = find_project()
    paths = find_finished(project, dataset, run)
    key = paths.key

    from crm_assets.audit.lineage import read_lineage
    from crm_assets.orchestration.event_log import read_dagster, read_telemetry

    found = read_lineage(
        project,
        paths,
        ask_dagster=lambda: read_dagster(project, key),
        ask_telemetry=lambda config: read_telemetry(project, key.run_id, config),
    )
    if verify:
        from crm_assets.audit.verification import verify_baseline

        checked = verify_baseline(project, paths, found.dagster)
        found = found.model_copy(update={"verification": checked})
    if as_json:
        print_json(found)
    else:
        from crm_assets.audit.text import lineage_blocks, verification_blocks
        from crm_assets.reporting.terminal import show

        show(*lineage_blocks(found))
        if found.verification is not None:
            show(*verification_blocks(found.verification))
    if found.verification is not None and not found.verification.passed:
        files = ", ".join(found.verification.failed_files)
        raise VerificationFailed(
            f"Baseline {key} does not verify: {files}; do not rely on it before you know what changed."
        )
