"""Helpers of the stages: group, owners, options, errors, the lease, and the result for a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from crm_assets.database import hold
from crm_assets.defs.partitions import baseline_of
from crm_assets.defs.records import PROJECT
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.errors import CrmAssetsError, InputError
from crm_assets.exports.inspect_package import inspect_is_installed
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project
from crm_assets.workspace.stored import publish, url_of
from crm_assets.workspace.transcripts import transcripts_url

__all__ = [
    "GROUP",
    "OWNERS",
    "StageConfig",
    "expected_errors",
    "file_result",
    "leased",
    "require",
    "tags",
    "transcripts_link",
]

GROUP = "baseline"
OWNERS = ["team:crm-baselines"]


def tags(stage: str) -> dict[str, str]:
    """Return the tags of an asset, to filter the graph by."""
    return {"crm_assets/stage": stage}


class StageConfig(dg.Config):
    """Options of the stages that a finished baseline is protected from."""

    overwrite: bool = Field(
        default=False,
        description="Make this stage again although the baseline is finished; what was made from "
        "the old one is removed.",
    )


@contextmanager
def expected_errors() -> Iterator[None]:
    """Turn an expected error into a Dagster failure that shows its sentence, not a traceback.

    Trying again helps where the infrastructure failed, never where the input is wrong.
    """
    try:
        yield
    except CrmAssetsError as error:
        raise dg.Failure(description=str(error), allow_retries=not isinstance(error, InputError)) from error


@contextmanager
def leased(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    artifacts: ArtifactsResource,
    *,
    last: bool = True,
    shared: bool = False,
) -> Iterator[BaselinePaths]:
    """Yield the files of the step's baseline, under its run's lease; show expected errors as sentences.

    A command that made the run holds the lease already. Else the run holds it until its last stage or a
    failure; a retry counts as the same run.

    Args:
        context: of the step.
        artifacts: the project's.
        last: no other step of its asset follows.
        shared: other processes work on the same asset meanwhile.
    """
    with expected_errors():
        paths = artifacts.baseline(baseline_of(context))
        layer = context.job_def.asset_layer
        later = layer.asset_graph.get(context.asset_key).child_keys & layer.selected_asset_keys
        holder = f"Dagster run {context.run.root_run_id or context.run.run_id}"
        with hold(artifacts.project, paths.folder, holder, keep=bool(later) or not last, shared=shared):
            if PROJECT not in context.run.tags:
                context.instance.add_run_tags(context.run.run_id, {PROJECT: project_id(artifacts.project)})
            paths.bring_all()
            yield paths
            publish(artifacts.project, paths.folder)


def require(path: Path, stage: str) -> Path:
    """Return `path`, which `stage` makes.

    Raises:
        InputError: it does not exist.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: materialize {stage} of this partition first.")
    return path


def transcripts_link(paths: BaselinePaths) -> dict[str, dg.UrlMetadataValue]:
    """Return the link to a baseline's transcripts, where Inspect is installed to show them."""
    return (
        {"transcripts": dg.MetadataValue.url(transcripts_url(paths.key))} if inspect_is_installed() else {}
    )


def _link(project: Project, path: Path) -> dict[str, dg.UrlMetadataValue]:
    url = url_of(project, path)
    return {} if url is None else {"url": dg.MetadataValue.url(url)}


def file_result(
    project: Project, path: Path, metadata: Mapping[str, Any], *, version: str | None = None
) -> dg.MaterializeResult[None]:
    """Return the result of a stage that wrote `path`.

    Args:
        project: whose file it is.
        path: the file.
        metadata: shown besides path, size and hash; names whose value is None are left out.
        version: the data version; left out, the hash of the file's content.
    """
    digest = sha256_of_file(path)
    return dg.MaterializeResult(
        metadata={
            **{name: value for name, value in metadata.items() if value is not None},
            "path": dg.MetadataValue.path(str(path)),
            **_link(project, path),
            "sha256": digest,
            "bytes": path.stat().st_size,
            PROJECT: project_id(project),
        },
        data_version=dg.DataVersion(version or digest),
    )
