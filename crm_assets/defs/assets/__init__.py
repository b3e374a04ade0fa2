"""The lineage: one module per stage; and the history of a dataset's baselines."""

from __future__ import annotations

from crm_assets.defs.assets.baseline_history import baseline_history
from crm_assets.defs.assets.baseline_metrics import baseline_metrics
from crm_assets.defs.assets.baseline_readme import baseline_readme
from crm_assets.defs.assets.conversations import conversations
from crm_assets.defs.assets.dataset_revision import dataset_revision
from crm_assets.defs.assets.leaderboard import leaderboard
from crm_assets.defs.assets.learning_study import learning_study
from crm_assets.defs.assets.playbook import playbook
from crm_assets.defs.assets.sessions import atlas_sessions
from crm_assets.defs.assets.tasks import atlas_tasks

LINEAGE = [dataset_revision, atlas_tasks, atlas_sessions, baseline_metrics, baseline_readme]

__all__ = [
    "LINEAGE",
    "atlas_sessions",
    "atlas_tasks",
    "baseline_history",
    "baseline_metrics",
    "baseline_readme",
    "conversations",
    "dataset_revision",
    "leaderboard",
    "learning_study",
    "playbook",
]
