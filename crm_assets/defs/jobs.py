"""The jobs: each can be launched as it is, with nothing but a partition chosen."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from crm_assets.atlas.plan import SessionPlan
from crm_assets.defs.assets import (
    LINEAGE,
    atlas_sessions,
    baseline_history,
    baseline_metrics,
    baseline_readme,
    leaderboard,
    learning_study,
)
from crm_assets.defs.assets.tasks import TasksConfig
from crm_assets.defs.checks import SMOKE_JOB, smoke_checklist, smoke_metrics
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.defs.sweep import SWEEP_JOB, sweep

__all__ = [
    "BASELINE_JOB",
    "HARNESS_JOB",
    "HISTORY_JOB",
    "JOBS",
    "LEADERBOARD_JOB",
    "RESCORE_JOB",
    "STUDY_JOB",
    "SWEEP_JOB",
    "baseline",
    "harness_baseline",
    "history",
    "leaderboard_job",
    "rescore",
    "smoke",
    "study",
    "sweep",
]

BASELINE_JOB = "baseline"
HARNESS_JOB = "harness_baseline"
RESCORE_JOB = "rescore"
HISTORY_JOB = "history"
LEADERBOARD_JOB = "leaderboards"  # the name of its asset is that of an op, and taken
STUDY_JOB = "study"

_WHOLE = dg.AssetSelection.assets(*LINEAGE)
_LINEAGE = _WHOLE - dg.AssetSelection.checks(smoke_checklist, smoke_metrics)

baseline = dg.define_asset_job(
    BASELINE_JOB,
    selection=_LINEAGE,
    description="The whole lineage of one baseline: a run over a dataset, by the Atlas loop unless the "
    "launchpad says otherwise.",
)

harness_baseline = dg.define_asset_job(
    HARNESS_JOB,
    selection=_LINEAGE,
    config=dg.RunConfig(
        ops={
            "atlas_tasks": TasksConfig(agent="student"),
            atlas_sessions.node_def.name: SessionsConfig.of(SessionPlan(agent="student")),
        }
    ),
    description="The whole lineage with the student alone, without teacher, judges and learner: what an "
    "Atlas run is compared with.",
)

smoke = dg.define_asset_job(
    SMOKE_JOB,
    selection=_WHOLE,
    config=dg.RunConfig(
        ops={
            "atlas_tasks": TasksConfig(limit=1),
            atlas_sessions.node_def.name: SessionsConfig.of(SessionPlan(mode="paired", concurrency=1)),
        }
    ),
    description="One conversation through the whole loop, in mode paired, and the smoke checklist as "
    "blocking checks. Run it before a configuration costs money; its result goes to data/smoke_log.jsonl.",
)

rescore = dg.define_asset_job(
    RESCORE_JOB,
    selection=dg.AssetSelection.assets(baseline_metrics, baseline_readme),
    description="Metrics and README again, from the stored sessions: no model is asked and nothing is "
    "paid. The dataset's history follows by itself.",
)

history = dg.define_asset_job(
    HISTORY_JOB,
    selection=dg.AssetSelection.assets(baseline_history),
    description="The history of one dataset, from the baselines that are there.",
)

leaderboard_job = dg.define_asset_job(
    LEADERBOARD_JOB,
    selection=dg.AssetSelection.assets(leaderboard),
    description="The systems that ran on one dataset, ranked only where they can be told apart.",
)

study = dg.define_asset_job(
    STUDY_JOB,
    selection=dg.AssetSelection.assets(learning_study),
    description="What learning gains on conversations that it never saw, with a control: one arm learns on "
    "a part of the dataset, and all arms are scored on the rest. Each arm is a baseline of its own.",
)

JOBS: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    baseline,
    harness_baseline,
    smoke,
    rescore,
    history,
    leaderboard_job,
    study,
    sweep,
]
