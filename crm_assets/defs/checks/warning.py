"""Checks that warn: what to know before trusting a baseline's figures."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from crm_assets.atlas.plan import SessionPlan
from crm_assets.audit.integrity import Verdict
from crm_assets.audit.quality_thresholds import (
    Budgets,
    find_audit_findings,
    find_drift,
    find_missing_tool_calls,
    find_missing_verdicts,
    find_overspending,
    find_unstored_sessions,
)
from crm_assets.defs.assets import atlas_sessions, baseline_metrics, dataset_revision
from crm_assets.defs.assets.dataset_revision import AUDIT_FACTS
from crm_assets.defs.checks.common import last_metadata, partition_check, result, session_plan
from crm_assets.defs.partitions import baseline_of
from crm_assets.defs.resources import EMPTY_BASE, ArtifactsResource, SandboxResource, TelemetryResource
from crm_assets.errors import InputError
from crm_assets.records import SessionLog
from crm_assets.reporting import read_metrics
from crm_assets.workspace.baseline_files import BaselinePaths

if TYPE_CHECKING:
    from crm_assets.atlas.config_file import LoadedConfig

__all__ = [
    "WARNINGS",
    "cost_within_budget",
    "dataset_audit",
    "leakage_check",
    "missing_verdicts",
    "reward_drift",
    "sandbox_reset",
    "telemetry_matches_sessions",
]


class _ShareConfig(dg.Config):
    """The threshold of a check."""

    most: float = Field(
        default=0.02, ge=0, le=1, description="The largest share without a warning, 0 to 1."
    )


class _DriftConfig(dg.Config):
    """The threshold of `reward_drift`."""

    most: float = Field(default=0.1, ge=0, le=1, description="The largest share without a warning, 0 to 1.")


class _ToolsConfig(dg.Config):
    """The threshold of `tools_called`."""

    most: float = Field(default=0.9, ge=0, le=1, description="Share of turns without a call, at most.")


class _BudgetConfig(dg.Config):
    """The budget of `cost_within_budget`, where it is not the run's own."""

    budget_usd: float | None = Field(default=None, gt=0, description="Dollars; left out, the run's budget.")
    budget_tokens: int | None = Field(default=None, ge=1, description="Tokens; left out, the run's budget.")


class _LeakageConfig(dg.Config):
    """The sample of `leakage_check`."""

    sessions: int = Field(default=25, ge=1, description="Sessions, evenly spread over the run.")


def _warn(find: Callable[[], Verdict]) -> dg.AssetCheckResult:
    return result(find, severity=dg.AssetCheckSeverity.WARN)


@partition_check(dataset_revision, blocking=False)
def dataset_audit(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The audit found nothing in the dataset that makes scores on it mean less.

    If it did: look at the examples in the metadata of `dataset_revision`, correct the dataset, and start
    a new run; or know that the score is also about the dataset's faults.
    """

    def find() -> Verdict:
        known = last_metadata(context, artifacts.project, dataset_revision)
        if known is None:
            raise InputError("There is no audit yet: materialize dataset_revision of this partition first.")
        return find_audit_findings(
            {name: known[name] for name in AUDIT_FACTS},
            conversations=known["conversations"],
            replayed=known["ground_truth_replayed"],
        )

    return _warn(find)


@partition_check(baseline_metrics, blocking=False)
def missing_verdicts(
    context: dg.AssetCheckExecutionContext, config: _ShareConfig, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """Nearly all conversations have a verdict: few were ended by the infrastructure or left undecided.

    If not: quote no rate of this baseline without its bounds; mend the cause, and run it again with resume.
    """
    paths = artifacts.baseline(baseline_of(context))
    return _warn(lambda: find_missing_verdicts(read_metrics(paths.metrics), most=config.most))


@partition_check(baseline_metrics, blocking=False)
def tools_called(
    context: dg.AssetCheckExecutionContext, config: _ToolsConfig, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The agent called a tool in at least some of the turns.

    If not: look if the model's server shows it the tools, or set agent.tool_mode to text or auto.
    """
    paths = artifacts.baseline(baseline_of(context))
    return _warn(lambda: find_missing_tool_calls(read_metrics(paths.metrics), most=config.most))


@partition_check(baseline_metrics, blocking=False)
def cost_within_budget(
    context: dg.AssetCheckExecutionContext, config: _BudgetConfig, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The run used no more than its budget, and did not end on it.

    Calls are reserved by an estimate, so a budget can be overdrawn a little.
    If conversations were not run: raise the budget, and run it again with resume.
    """
    paths = artifacts.baseline(baseline_of(context))
    known = last_metadata(context, artifacts.project, atlas_sessions) or {}
    budgets = Budgets(
        config.budget_usd or known.get("budget_usd"), config.budget_tokens or known.get("budget_tokens")
    )
    return _warn(lambda: find_overspending(read_metrics(paths.metrics), budgets))


@partition_check(atlas_sessions, blocking=False)
def reward_drift(
    context: dg.AssetCheckExecutionContext, config: _DriftConfig, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """Few rewards are far from those that the same learning key had before.

    If many are: see whether a judge's model, a prompt or the dataset changed before comparing rewards
    with older runs. What counts as far is `runtime_safety.drift` of the configuration.
    """
    paths = artifacts.baseline(baseline_of(context))
    return _warn(lambda: find_drift(paths.sessions, most=config.most))


@partition_check(atlas_sessions, blocking=False)
def telemetry_matches_sessions(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource, telemetry: TelemetryResource
) -> dg.AssetCheckResult:
    """Every session of an Atlas run is in the telemetry database, with the status it has in the file.

    If not: see that STORAGE__DATABASE_URL is the one that the run had. Agents other than `atlas` leave no
    telemetry, and neither do replayed runs.
    """
    key = baseline_of(context)
    paths = artifacts.baseline(key)

    def find() -> Verdict:
        plan = session_plan(context, artifacts.project, paths)
        if plan.agent != "atlas" or plan.replay is not None:
            return Verdict.good(0)
        stored = telemetry.statuses(key.run_id, _loaded(artifacts, paths, plan).config.storage.database_url)
        return find_unstored_sessions(paths.sessions, stored)

    return _warn(find)


@partition_check(atlas_sessions, blocking=False)
def sandbox_reset(
    context: dg.AssetCheckExecutionContext, artifacts: ArtifactsResource, sandbox: SandboxResource
) -> dg.AssetCheckResult:
    """The sandboxes were empty before the sessions began, and are empty after them.

    `atlas_sessions` resets them by the resource `sandbox` and records their fingerprint; this check resets
    them again. If it fails: rows of another session may have been seen; run `crm-assets doctor`, then make
    the sessions again with overwrite.
    """

    def find() -> Verdict:
        before = (last_metadata(context, artifacts.project, atlas_sessions) or {}).get(
            "sandbox_fingerprint"
        )
        if before is None:
            raise InputError(
                "These sessions record no reset: they were imported, or made by an older version."
            )
        after = sandbox.reset()
        if before != EMPTY_BASE:
            return Verdict(f"A sandbox held rows before the sessions began: fingerprint {before}.", 1)
        if after.remade or after.fingerprint != EMPTY_BASE:
            return Verdict(f"{after.remade} of {after.sandboxes} sandboxes held rows.", after.sandboxes)
        return Verdict.good(after.sandboxes)

    return _warn(find)


@partition_check(atlas_sessions, blocking=False)
def leakage_check(
    context: dg.AssetCheckExecutionContext, config: _LeakageConfig, artifacts: ArtifactsResource
) -> dg.AssetCheckResult:
    """The student's prompts contain no ground truth.

    For a sample of sessions the recorded requests are searched for values that only the ground truth has,
    and held against the hashes in the ledger (`read` of `recorded`). Then they are built again from the
    configuration, the playbook noted in the ledger, the users' texts and the calls' outcomes alone, which
    works for the last attempt of a session (`derived`). If it fails: do not trust this baseline until it is
    known where the value came from (`feedback: oracle` with epochs teaches the answers).
    """
    paths = artifacts.baseline(baseline_of(context))
    seen: dict[str, int] = {}

    def find() -> Verdict:
        plan = session_plan(context, artifacts.project, paths)
        if not plan.asks_models:
            return Verdict.good(0)
        from crm_assets.audit.leakage import find_leaks  # noqa: PLC0415  (brings the whole loop along)

        loaded = _loaded(artifacts, paths, plan)
        report = find_leaks(paths, loaded, atlas=plan.agent == "atlas", sample=config.sessions)
        seen.update({name: count for name, count in report._asdict().items() if name != "problems"})
        problems = report.problems
        return Verdict("; ".join(problems[:3]) + "." if problems else None, report.derived)

    outcome = _warn(find)
    counts = {name: dg.MetadataValue.int(count) for name, count in seen.items()}
    return outcome._replace(metadata={**outcome.metadata, **counts})


def _loaded(artifacts: ArtifactsResource, paths: BaselinePaths, plan: SessionPlan) -> "LoadedConfig":
    """Return the configuration that the sessions ran on.

    Raises:
        InputError: it has changed since.
    """
    from crm_assets.atlas.run_plan import load_run  # noqa: PLC0415

    loaded = load_run(plan, artifacts.project, paths.key.dataset).config
    agent = SessionLog(paths.sessions).header.agent or {}
    if not loaded.sha256.startswith(agent["config_sha256"]):
        raise InputError(
            f"{loaded.path.name} (or which keys are set) has changed since these sessions ran, so this "
            "cannot be checked any more."
        )
    return loaded


WARNINGS = [
    dataset_audit,
    missing_verdicts,
    tools_called,
    cost_within_budget,
    reward_drift,
    telemetry_matches_sessions,
    sandbox_reset,
    leakage_check,
]
