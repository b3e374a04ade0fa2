"""The asset checks: blocking ones, warnings, and the smoke checklist."""

from __future__ import annotations

from crm_assets.defs.checks.blocking import BLOCKING
from crm_assets.defs.checks.gate import gate
from crm_assets.defs.checks.smoke import SMOKE_JOB, SMOKE_NAMES, smoke_checklist, smoke_metrics
from crm_assets.defs.checks.warning import WARNINGS

CHECKS = [*BLOCKING, *WARNINGS, gate, smoke_checklist, smoke_metrics]

__all__ = ["BLOCKING", "CHECKS", "SMOKE_JOB", "SMOKE_NAMES", "WARNINGS", "smoke_checklist", "smoke_metrics"]
