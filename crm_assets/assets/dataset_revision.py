"""Which data a baseline is about."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

from typing import Any

import dagster as dg

from crm_assets.assets.common import GROUP, StageConfig, expected_errors, file_result
from crm_assets.assets.conversations import conversations
from crm_assets.assets.progress import tell
from crm_assets.conversations import AuditReport, DatasetRevision, check_dataset, read_revision
from crm_assets.crm import tool_names
from crm_assets.datasets import require_dataset
from crm_assets.files import write_json
from crm_assets.harness import audit_dataset
from crm_assets.partitions import BASELINE_PARTITIONS, baseline_of
from crm_assets.resources import ArtifactsResource

__all__ = ["dataset_revision"]

_DATA_VERSION_TAG = "dagster/data_version"


@dg.asset(
    group_name=GROUP,
    partitions_def=BASELINE_PARTITIONS,
    deps=[conversations],
    code_version="1",
    kinds={"json"},
)
def dataset_revision(
    context: dg.AssetExecutionContext, config: StageConfig, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """The exact data of this baseline: content hash, commit, and an audit of what it holds.

    `revision.json`. A malformed dataset ends the run here, with everything that is wrong with it.
    """
    with expected_errors():
        key = baseline_of(context)
        project = artifacts.project
        source = require_dataset(project, key.dataset)
        paths = artifacts.baseline(key)
        paths.protect(overwrite=config.overwrite)  # before the work, not after it
        check_dataset(source, known_tools=tool_names())
        revision = read_revision(source, key.dataset)
        report = audit_dataset(source, project=project)
        paths.begin(paths.revision, overwrite=config.overwrite)
        write_json(paths.revision, revision.model_dump(mode="json"))
    context.log_event(
        dg.AssetObservation(
            asset_key=conversations.key,
            partition=key.dataset,
            tags={_DATA_VERSION_TAG: revision.sha256},
        )
    )
    tell(context, f"{revision.conversations} conversations, sha256 {revision.sha256[:12]}")
    return file_result(paths.revision, _metadata(revision, report))


def _metadata(revision: DatasetRevision, report: AuditReport) -> dict[str, Any]:
    """What a person wants to know of the data before trusting a score on it."""
    facts = {
        "unfillable_placeholders": report.unfillable_placeholders,
        "unreproducible_replies": report.unreproducible_replies,
        "duplicate_ids": report.duplicate_ids,
        "ignored_seed_fields": report.ignored_seed_fields,
        "seeds_created_later": report.seeds_created_later,
        "ground_truth_failures": report.ground_truth_failures,
    }
    return {
        "dataset_sha256": revision.sha256,
        "git_commit": revision.git_commit or "none",
        "git_dirty": str(revision.git_dirty),
        "conversations": report.conversations,
        "turns": report.turns,
        "chains": report.chains,
        "expected_failures": report.expected_failures,
        "expected_responses": report.expected_responses,
        "by_workflow": dg.MetadataValue.json(report.by_workflow),
        "by_complexity": dg.MetadataValue.json(report.by_complexity),
        "by_tool": dg.MetadataValue.json(report.by_tool),
        **{name: fact.total for name, fact in facts.items()},
        "examples": dg.MetadataValue.json(
            {name: fact.examples for name, fact in facts.items() if fact.examples}
        ),
        "ground_truth_replayed": report.replayed,
    }
