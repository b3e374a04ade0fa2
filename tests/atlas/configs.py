"""A configuration to ask scripted models with."""

from __future__ import annotations

from typing import Any

from crm_assets.atlas.config import AtlasConfig


def model(name: str, **fields: Any) -> dict[str, Any]:
    return {"provider": "openai", "model": name, **fields}


def config(**sections: Any) -> AtlasConfig:
    """A configuration with a model of its own in every role; `sections` say what else is set."""
    base: dict[str, Any] = {
        "agent": {"llm": model("student")},
        "teacher": {"llm": model("teacher")},
        "rim": {"small_model": model("small"), "large_model": model("large")},
        "learning": {"llm": model("learner")},
    }
    for name, section in sections.items():
        base[name] = {**base[name], **section} if isinstance(base.get(name), dict) else section
    return AtlasConfig.model_validate(base)
