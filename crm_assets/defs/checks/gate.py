"""The gate of a baseline: it is not worse than the pinned reference of its dataset."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

from typing import Literal

import dagster as dg
from pydantic import Field

from crm_assets.audit.integrity import Verdict
from crm_assets.defs.assets import baseline_readme
from crm_assets.defs.checks.common import partition_check, result
from crm_assets.defs.partitions import baseline_of
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.workspace.reference import reference_run

__all__ = ["gate"]


class _GateConfig(dg.Config):
    """The margin of the gate, and what follows if the baseline is worse by more."""

    metric: Literal["strict_success", "turns_right", "state_match", "reward", "harness_reward"] = Field(
        default="strict_success", description="The measure."
    )
    margin: float = Field(
        default=2.0, gt=0, le=100, description="Points by which the baseline may be worse."
    )
    blocking: bool = Field(
        default=False, description="Let the run fail if the baseline is worse; otherwise it is a warning."
    )


# Blocking, at the lineage's end: the baseline is whole, whatever the gate says. A warning blocks nothing.
@partition_check(baseline_readme, blocking=True)
def gate(
    context: dg.AssetCheckExecutionContext, config: _GateConfig, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The baseline is not worse than the reference of its dataset (`crm-assets reference set`).

    If it is worse by more than the margin: `crm-assets compare` shows the conversations that were lost.
    Too few conversations to tell are a warning, which says how many it would take. Without a reference
    there is nothing to compare.
    """
    paths = artifacts.baseline(baseline_of(context))
    worse = False

    def find() -> Verdict:
        nonlocal worse
        reference = reference_run(artifacts.project, paths.key.dataset)
        if reference is None or reference.key == paths.key:
            return Verdict.good(0)
        from crm_assets.reporting.comparison.gate import gate_runs  # noqa: PLC0415  (heavy)

        found = gate_runs(reference, paths, measure=config.metric, margin=config.margin)
        worse = found.outcome == "worse"
        problem = None if found.outcome == "not_worse" else found.summary
        return Verdict(problem, found.paired.conversations)

    checked = result(find)
    severity = dg.AssetCheckSeverity.ERROR if config.blocking and worse else dg.AssetCheckSeverity.WARN
    return checked._replace(severity=severity)
