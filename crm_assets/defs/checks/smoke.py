"""The smoke checklist: it must hold before money is spent on a whole dataset."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import warnings
from collections.abc import Iterator

import dagster as dg

from crm_assets.defs.assets import atlas_sessions, baseline_metrics
from crm_assets.defs.partitions import BASELINE_PARTITIONS, baseline_of
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.errors import InputError

__all__ = ["SMOKE_JOB", "SMOKE_NAMES", "smoke_checklist", "smoke_metrics"]

SMOKE_JOB = "smoke"

SMOKE_NAMES = {
    "session_ran": "The session ran to its end. If not: its error says what around the agent broke.",
    "tools_called": "The student called a tool. If not: its model's server may not show it the tools; set "
    "agent.tool_mode to text or auto.",
    "execution_mode_paired": "The session ran in mode paired: the teacher took part.",
    "reward_or_rationale": "The judges gave a reward, or a rationale that says something. If not: look at "
    "their model, prompt and replies in the ledger.",
    "tokens_per_role": "Student, teacher and judges report tokens: all of them were asked.",
    "adaptive_summary": "The session says which mode it ran in, and why.",
    "tool_calls_in_tables": "The CRM's tables showed what the tool calls changed, while the session ran.",
    "sandbox_restored": "The sandbox came back to its base. If not: run crm-assets doctor.",
}
"""{name of a check: its description}."""


_METRICS_TEXT = "metrics.json has the mode, the adaptive summary and the rewards of the session."


def _spec(name: str, asset: dg.AssetsDefinition, text: str, *, blocking: bool = True) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            f"smoke_{name}",
            asset=asset,
            blocking=blocking,
            partitions_def=BASELINE_PARTITIONS,
            description=f"{text} Evaluated by the job '{SMOKE_JOB}' alone.",
        )


@dg.multi_asset_check(
    specs=[_spec(name, atlas_sessions, text) for name, text in SMOKE_NAMES.items()], can_subset=True
)
def smoke_checklist(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the checklist of a smoke run; other runs skip it."""
    if context.run.job_name != SMOKE_JOB:
        return
    from crm_assets.atlas.smoke import append_smoke_log, smoke_checks  # noqa: PLC0415  (heavy)

    paths = artifacts.baseline(baseline_of(context))
    try:
        checks = smoke_checks(paths)
        append_smoke_log(artifacts.project, paths, checks)
    except InputError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    for check in checks:
        yield dg.AssetCheckResult(
            passed=check.passed,
            asset_key=atlas_sessions.key,
            check_name=f"smoke_{check.name}",
            description=check.description,
        )


@dg.multi_asset_check(
    specs=[_spec("metrics_complete", baseline_metrics, _METRICS_TEXT, blocking=False)], can_subset=True
)
def smoke_metrics(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> Iterator[dg.AssetCheckResult]:
    """Look at the metrics of a smoke run; other runs skip it."""
    if context.run.job_name != SMOKE_JOB:
        return
    from crm_assets.atlas.smoke import smoke_metrics_check  # noqa: PLC0415  (heavy)

    try:
        check = smoke_metrics_check(artifacts.baseline(baseline_of(context)))
    except InputError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    yield dg.AssetCheckResult(
        passed=check.passed,
        asset_key=baseline_metrics.key,
        check_name=f"smoke_{check.name}",
        description=check.description,
    )
