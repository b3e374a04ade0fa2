"""How a baseline went, in figures."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

from importlib.metadata import version
from typing import Any

import dagster as dg

from crm_assets.artifacts import BaselinePaths
from crm_assets.assets.common import GROUP, expected_errors, file_result, require
from crm_assets.assets.progress import tell
from crm_assets.assets.sessions import atlas_sessions
from crm_assets.datasets import read_revision_file
from crm_assets.partitions import BASELINE_PARTITIONS, baseline_of
from crm_assets.project import Project
from crm_assets.reporting import Metrics, RunInfo, compute_metrics, write_metrics
from crm_assets.resources import ArtifactsResource

__all__ = ["baseline_metrics"]

# What these figures were computed with; what the sessions ran on, they say themselves.
_SOFTWARE = ("dagster", "pandas")


@dg.asset(
    group_name=GROUP,
    partitions_def=BASELINE_PARTITIONS,
    deps=[atlas_sessions],
    code_version="1",
    kinds={"json", "pandas"},
)
def baseline_metrics(
    context: dg.AssetExecutionContext, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """The baseline's figures, computed from its sessions alone: `metrics.json`."""
    with expected_errors():
        paths = artifacts.baseline(baseline_of(context))
        require(paths.sessions, atlas_sessions.key.to_user_string())
        metrics = compute_metrics(paths.sessions, run=_run_info(artifacts.project, paths))
        write_metrics(paths.metrics, metrics)
    tell(context, f"{metrics.harness_successes} of {metrics.total_conversations} all right")
    return file_result(paths.metrics, _headline(metrics))


def _run_info(project: Project, paths: BaselinePaths) -> RunInfo:
    revision = read_revision_file(paths.revision)
    return RunInfo(
        run_id=paths.key.run_id,
        dataset=paths.key.dataset,
        dataset_revision=revision.sha256,
        conversations_path=revision.path,
        tasks_path=paths.tasks.relative_to(project.root).as_posix(),
        software={name: version(name) for name in _SOFTWARE},
    )


def _headline(metrics: Metrics) -> dict[str, Any]:
    rates = {
        "strict_success": metrics.strict_success,
        "state_match": metrics.state_match,
        "turn_tool_success": metrics.turn_tool_success,
        "turn_response_success": metrics.turn_response_success,
    }
    return {
        "conversations": metrics.total_conversations,
        "infrastructure_failures": metrics.failed_runs,
        **{name: rate.value for name, rate in rates.items() if rate.value is not None},
        "rates": dg.MetadataValue.table(
            records=[
                dg.TableRecord(
                    {
                        "rate": name,
                        "value": _percent(rate.value),
                        "low": _percent(rate.low),
                        "high": _percent(rate.high),
                        "count": rate.count,
                    }
                )
                for name, rate in rates.items()
            ]
        ),
    }


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
