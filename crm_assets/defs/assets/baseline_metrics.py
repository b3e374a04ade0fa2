"""The figures of a baseline."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

from collections.abc import Mapping
from importlib.metadata import version

import dagster as dg

from crm_assets.conversations.revision import read_revision_file
from crm_assets.defs.assets.progress import tell
from crm_assets.defs.assets.sessions import atlas_sessions
from crm_assets.defs.partitions import BASELINE_PARTITIONS
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import GROUP, OWNERS, file_result, leased, require, tags
from crm_assets.errors import InputError
from crm_assets.reporting import Metrics, Rate, baseline_run_info, compute_metrics, write_metrics
from crm_assets.reporting.formats import counted, interval, of, percent, share
from crm_assets.reporting.models import ConversationGroup
from crm_assets.reporting.wording import STRICT_MEANING
from crm_assets.workspace.states import status_of

__all__ = ["baseline_metrics"]

# What these figures were computed with; what the sessions ran on, they say themselves.
_SOFTWARE = ("dagster", "pandas")


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=tags("metrics"),
    partitions_def=BASELINE_PARTITIONS,
    deps=[atlas_sessions],
    code_version="1",
    kinds={"json", "pandas"},
)
def baseline_metrics(
    context: dg.AssetExecutionContext, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """The baseline's figures, each with its count and interval: `metrics.json`.

    Computed from its sessions alone, so that it can be made again at any time. Read by `baseline_readme`,
    `baseline_history` and comparisons; its numbers are plotted over the runs here.
    """
    with leased(context, artifacts) as paths:
        require(paths.sessions, atlas_sessions.key.to_user_string())
        if paths.imported.exists() and not paths.coverage.exists():
            raise InputError(
                f"The import into {paths.key} has stopped; go on with `{status_of(paths).command}`."
            )
        revision = read_revision_file(paths.revision)
        software = {name: version(name) for name in _SOFTWARE}
        info = baseline_run_info(artifacts.project, paths, revision, software)
        metrics = compute_metrics(paths.sessions, run=info)
        paths.unpublish()
        write_metrics(paths.metrics, metrics)
    done = counted(metrics.total_sessions, "session")
    tell(context, f"strict success in {metrics.harness_successes:,} of {done}")
    return file_result(
        artifacts.project,
        paths.metrics,
        {
            "headline": _headline(metrics),
            "bounds": _bounds(metrics),
            "repeats": metrics.origin.label if metrics.origin else None,
            **_numbers(metrics),
            "strict_success_means": STRICT_MEANING[metrics.strict_success_formula],
            "rates": _rates(metrics),
            "by_complexity": _groups(metrics.by_complexity),
            "by_workflow": _groups(metrics.by_workflow),
        },
    )


def _headline(metrics: Metrics) -> str:
    """Return strict success in at most 60 characters, the number first: the UI cuts what is longer."""
    rate = metrics.strict_success
    return f"{percent(rate)} strict success ({of(rate)}; 95% {interval(rate)})"


def _bounds(metrics: Metrics) -> str | None:
    """Return the bounds of strict success where verdicts are missing."""
    bounds = metrics.strict_success_bounds
    if bounds is None:
        return None
    between = f"{percent(bounds.worst)} and {percent(bounds.best)}"
    return f"between {between}: {bounds.missing:,} without a verdict"


def _numbers(metrics: Metrics) -> dict[str, float | int | None]:
    """Return the numbers that Dagster plots over runs; those without a value are left out, not 0."""
    bounds = metrics.strict_success_bounds
    return {
        "strict_success": metrics.strict_success.value,
        "strict_success_worst": bounds.worst.value if bounds else None,
        "strict_success_best": bounds.best.value if bounds else None,
        "turns_right": metrics.turns_right.value,
        "state_match": metrics.state_match.value,
        "state_match_floor": metrics.state_match_floor.value if metrics.state_match_floor else None,
        "turn_tool_success": metrics.turn_tool_success.value,
        "turn_response_success": metrics.turn_response_success.value,
        "reward_mean": metrics.reward_summary.mean,
        "tokens": metrics.own_tokens,
        "cost_usd": metrics.own_cost_usd,
        "estimated_cost_usd": metrics.estimate.usd if metrics.estimate else None,
        "recorded_cost_usd": metrics.recorded_cost_usd,
        "seconds_per_conversation": metrics.duration_seconds.mean,
        "conversations": metrics.total_conversations,
        "sessions": metrics.total_sessions,
        "infrastructure_failures": metrics.failed_runs,
    }


def _rates(metrics: Metrics) -> dg.TableMetadataValue:
    rates = {
        "strict_success": metrics.strict_success,
        "turns_right": metrics.turns_right,
        "state_match": metrics.state_match,
        "turn_tool_success": metrics.turn_tool_success,
        "turn_response_success": metrics.turn_response_success,
    }
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "rate": name,
                    "value": percent(rate),
                    "low": share(rate.low),
                    "high": share(rate.high),
                    "count": rate.count,
                }
            )
            for name, rate in rates.items()
        ]
    )


def _groups(groups: Mapping[str, ConversationGroup]) -> dg.TableMetadataValue | None:
    """Return a row for each group, in narrow columns: Dagster gives a table half of a page."""
    records = [
        dg.TableRecord(
            {
                "name": name,
                "n": group.conversations,
                "strict_success": _with_interval(group.strict_success),
                "state_match": percent(group.state_match),
                "tools": percent(group.turn_tool_success),
                "replies": percent(group.turn_response_success),
            }
        )
        for name, group in groups.items()
    ]
    return dg.MetadataValue.table(records=records) if records else None


def _with_interval(rate: Rate) -> str:
    return f"{percent(rate)} ({interval(rate)})" if rate.count else percent(rate)
