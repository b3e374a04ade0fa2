"""Finds a project's records in Dagster's storage, which several projects may share."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

__all__ = ["DATA_VERSION", "FILES", "PROJECT", "is_of_project", "is_own", "materializations_of"]

PROJECT = "crm_assets/project"
"""Tag of runs, and metadata of materializations: the identity of their project."""

FILES = "files"
"""Metadata of `baseline_readme`: the hashes of all files of the baseline, by name."""

DATA_VERSION = "dagster/data_version"
"""Tag of a materialization: the hash of what was made."""

_AT_A_TIME = 25


def materializations_of(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str, project: str | None
) -> Iterator[dg.EventLogRecord]:
    """Yield a project's materializations of a partition of an asset, newest first.

    Those without an identity, of older versions, are yielded where none has the project's.

    Args:
        instance: whose storage is read.
        asset: the asset.
        partition: key of its partition.
        project: identity of the project; None if it has none yet.
    """
    wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[partition])
    unnamed, found, cursor, has_more = [], False, None, True
    while has_more:
        page = instance.fetch_materializations(wanted, limit=_AT_A_TIME, cursor=cursor)
        for record in page.records:
            owner = _owner(record)
            if owner is None:
                unnamed.append(record)
            elif owner == project:
                found = True
                yield record
        cursor, has_more = page.cursor, page.has_more
    if not found:
        yield from unnamed


def is_own(record: dg.EventLogRecord, project: str | None) -> bool:
    """Return True unless a materialization says that it is another project's; older ones say nothing."""
    return _owner(record) in (None, project)


def _owner(record: dg.EventLogRecord) -> object:
    event = record.asset_materialization
    value = event.metadata.get(PROJECT) if event else None
    return None if value is None else value.value


def is_of_project(run: dg.DagsterRun, project: str | None) -> bool:
    """Return True unless a run of Dagster says that it is another project's; older ones say nothing."""
    return run.tags.get(PROJECT, project) == project
