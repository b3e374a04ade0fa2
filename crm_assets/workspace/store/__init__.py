"""Artifacts and datasets in object storage; what imports this has a project with a store."""

from crm_assets.workspace.store.objects import StoreGone
from crm_assets.workspace.store.project_store import artifacts_of, datasets_of
from crm_assets.workspace.store.uploads import Artifacts, WrittenElsewhere

__all__ = [
    "Artifacts",
    "StoreGone",
    "WrittenElsewhere",
    "artifacts_of",
    "datasets_of",
]
