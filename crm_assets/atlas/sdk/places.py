"""The models in the SDK's configuration: their places, roles and names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from crm_assets.llm import ModelSpec, Role

__all__ = ["PROVIDER", "ROLES", "Place", "model_name"]

PROVIDER = "crm_assets"

Place = Literal["teacher", "judge", "arbiter", "learner", "probe"]

ROLES: Mapping[Place, Role] = {
    "teacher": "teacher",
    "judge": "judge",
    "arbiter": "judge",
    "learner": "learner",
    "probe": "probe",
}
"""The role in which the client is called, by place."""


def model_name(place: Place, spec: ModelSpec) -> str:
    """Return the SDK's name of a model: `crm_assets/<place>/<provider>/<model>`."""
    return f"{PROVIDER}/{place}/{spec.name}"
