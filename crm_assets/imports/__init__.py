"""Past results files, CL-Bench's or our own, as baselines: scored again, marked, comparable."""

from __future__ import annotations

from crm_assets.imports.importing import Coverage, ImportedRun, import_run

__all__ = ["Coverage", "ImportedRun", "import_run"]
