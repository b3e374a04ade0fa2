"""An Atlas configuration of ours as the SDK's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.sdk.package import KEY_VARIABLE, AtlasSdk
from crm_assets.atlas.sdk.provider import Place, model_name
from crm_assets.crm import TOOLS
from crm_assets.errors import ConfigError
from crm_assets.llm import ModelSpec

__all__ = ["database_url", "sdk_config"]

_NEVER_SECONDS = 24 * 3600.0
"""How long the SDK waits for the client, which has timeouts and retries of its own."""

_LEAST_PROBE_SECONDS = 1.0
"""The SDK takes no less; the client cuts the probe off sooner where the configuration says so."""

_PASSED_ON = ("sslmode", "sslrootcert", "sslcert", "sslkey", "options", "application_name")
"""What asyncpg knows of libpq's settings besides address and user; others it would send to the server."""


def sdk_config(loaded: LoadedConfig, address: str, sdk: AtlasSdk) -> dict[str, Any]:
    """The SDK's configuration for a run of ours.

    Args:
        loaded: ours.
        address: psycopg conninfo or URL of the telemetry database, whose tables are there.
        sdk: what checks it.

    Raises:
        ConfigError: the SDK does not take a value; it is named.
    """
    config = loaded.config
    document = {
        "agent": {
            "type": "python",
            "name": config.agent.name,
            "system_prompt": config.agent.system_prompt,
            "import_path": "crm_assets.atlas.sdk.adapter",
            "attribute": "work",
        },
        "teacher": _teacher(config, sdk),
        "orchestration": _orchestration(config),
        "adaptive_teaching": _adaptive_teaching(config),
        "rim": {
            "small_model": _llm("judge", config.rim.small_model),
            "large_model": _llm("arbiter", config.rim.large_model),
            "variance_threshold": config.rim.variance_threshold,
            "uncertainty_threshold": config.rim.uncertainty_threshold,
        },
        "learning": _learning(loaded),
        "storage": _storage(config, address),
        "runtime_safety": {
            "drift": config.runtime_safety.drift.model_dump(),
            "review": config.runtime_safety.review.model_dump(),
        },
    }
    try:
        sdk.parse_config(document)
    except sdk.config_error as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ConfigError(f"The Atlas SDK does not take this configuration ({reason}).") from error
    return document


def _llm(place: Place, spec: ModelSpec) -> dict[str, Any]:
    """An LLM section whose calls come to the client, which knows the model's server and key."""
    return {
        "provider": "openai",
        "model": model_name(place, spec),
        "api_key_env": KEY_VARIABLE,
        "temperature": spec.temperature or 0.0,
        "max_output_tokens": spec.max_output_tokens,
        "timeout_seconds": _NEVER_SECONDS,
    }


def _teacher(config: AtlasConfig, sdk: AtlasSdk) -> dict[str, Any]:
    section: dict[str, Any] = {"llm": _llm("teacher", config.teacher.llm)}
    prompt = config.teacher.validation_prompt
    if prompt is not None:  # the SDK takes all of a teacher's prompts or none
        own = sdk.build_teacher_prompts(config.agent.system_prompt, _NoPrompts)
        section["prompts"] = {
            "plan_review": own.plan_review,
            "validation": prompt,
            "guidance": own.guidance,
        }
    return section


class _NoPrompts:
    """A teacher's section without prompts, all that the SDK looks at."""

    prompts = None


def _orchestration(config: AtlasConfig) -> dict[str, Any]:
    orchestration = config.orchestration
    forced = orchestration.forced_mode
    return {
        "forced_mode": None if forced == "coach" else forced,  # which the SDK does not force
        "max_retries": orchestration.max_retries,
        "step_timeout_seconds": orchestration.step_timeout_seconds,
    }


def _adaptive_teaching(config: AtlasConfig) -> dict[str, Any]:
    teaching, probe = config.adaptive_teaching, config.adaptive_teaching.probe
    coached = config.orchestration.forced_mode == "coach"
    # The SDK has no judge's prompt of one's own: what would be one goes before what to look at.
    focus = [text for text in (config.rim.judge_prompt, teaching.focus_prompt) if text]
    return {
        "enabled": teaching.enabled or coached,
        "mode_override": "coach" if coached else teaching.mode_override,
        "default_tags": list(teaching.default_tags),
        "learning_history_limit": max(probe.evidence_limit, config.learning.history_limit),
        "probe": {
            "llm": _llm("probe", probe.llm or config.teacher.llm),
            "thresholds": probe.thresholds.model_dump(),
            "fallback_mode": probe.fallback_mode,
            "evidence_limit": probe.evidence_limit,
            "timeout_seconds": max(probe.timeout_seconds, _LEAST_PROBE_SECONDS),
        },
        "reward": {"focus_prompt": "\n\n".join(focus) or None},
    }


def _learning(loaded: LoadedConfig) -> dict[str, Any]:
    learning, mode = loaded.config.learning, loaded.learning_mode
    schema = learning.schema_
    return {
        "llm": _llm("learner", learning.llm),
        "enabled": mode != "off",
        "update_enabled": mode == "on",
        "apply_to_prompts": learning.apply_to_prompts and mode != "off",
        "history_limit": learning.history_limit,
        "inject_few_shot_examples": False,
        **({"prompts": dict(learning.prompts)} if learning.prompts else {}),
        "schema": {
            "allowed_runtime_handles": list(schema.allowed_runtime_handles or TOOLS),
            "cue_types": list(schema.cue_types),
        },
        "gates": {**learning.gates.model_dump(), "banned_incident_tokens": _banned(learning.gates)},
        "rubric_weights": learning.rubric_weights.model_dump(),
        "pruning_config": learning.pruning_config.model_dump(),
        "usage_tracking": learning.usage_tracking.model_dump(),
    }


def _banned(gates: Any) -> list[str]:
    return list(gates.banned_incident_tokens)


def _storage(config: AtlasConfig, address: str) -> dict[str, Any]:
    return {
        "database_url": database_url(address),
        # Each session has a pool of its own, and uses one connection at a time.
        "min_connections": 1,
        "max_connections": 1,
        "statement_timeout_seconds": config.storage.statement_timeout_seconds,
        "apply_schema_on_connect": False,
    }


def database_url(conninfo: str) -> str:
    """A psycopg conninfo or URL as asyncpg takes it."""
    parts: Mapping[str, Any] = conninfo_to_dict(conninfo)

    def quoted(name: str) -> str:
        return quote(str(parts.get(name) or ""), safe="")

    password = f":{quoted('password')}" if parts.get("password") else ""
    query = {name: str(parts[name]) for name in ("host", "port", *_PASSED_ON) if parts.get(name)}
    return f"postgresql://{quoted('user')}{password}@/{quoted('dbname')}?{urlencode(query)}"
