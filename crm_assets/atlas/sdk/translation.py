"""The SDK's form of an Atlas configuration and of a database address."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict

from crm_assets.atlas.config import AtlasConfig, GateConfig
from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.sdk.package import KEY_VARIABLE, AtlasSdk, Document
from crm_assets.atlas.sdk.places import Place, model_name
from crm_assets.crm import TOOLS
from crm_assets.errors import ConfigError
from crm_assets.llm import ModelSpec

__all__ = ["database_url", "sdk_config"]

_NEVER_SECONDS = 24 * 3600.0
"""Timeout of the SDK's calls; the client has its own timeouts and retries."""

_LEAST_PROBE_SECONDS = 1.0
"""The SDK's minimum; the client enforces a shorter one."""

_PASSED_ON = ("sslmode", "sslrootcert", "sslcert", "sslkey", "options", "application_name")
"""libpq settings that asyncpg knows besides address and user; it would send others to the server."""


def sdk_config(loaded: LoadedConfig, address: str, sdk: AtlasSdk) -> Document:
    """Return the SDK's configuration for a run.

    Args:
        loaded: the run's configuration.
        address: psycopg conninfo or URL of the telemetry database; its tables exist.
        sdk: checks the result.

    Raises:
        ConfigError: the SDK refuses a value; the message names it.
    """
    config = loaded.config
    document: Document = {
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
        raise ConfigError(f"The Atlas SDK does not accept this configuration ({reason}).") from error
    return document


def _llm(place: Place, spec: ModelSpec) -> Document:
    """Return an LLM section whose calls go to the client, which has the model's server and key."""
    return {
        "provider": "openai",
        "model": model_name(place, spec),
        "api_key_env": KEY_VARIABLE,
        "temperature": spec.temperature or 0.0,
        "max_output_tokens": spec.max_output_tokens,
        "timeout_seconds": _NEVER_SECONDS,
    }


def _teacher(config: AtlasConfig, sdk: AtlasSdk) -> Document:
    section: Document = {"llm": _llm("teacher", config.teacher.llm)}
    prompt = config.teacher.validation_prompt
    if prompt is not None:  # the SDK accepts all of a teacher's prompts or none
        own = sdk.build_teacher_prompts(config.agent.system_prompt, _NoPrompts)
        section["prompts"] = {
            "plan_review": own.plan_review,
            "validation": prompt,
            "guidance": own.guidance,
        }
    return section


class _NoPrompts:
    """A teacher section without prompts, the only attribute that the SDK reads."""

    prompts = None


def _orchestration(config: AtlasConfig) -> Document:
    orchestration = config.orchestration
    forced = orchestration.forced_mode
    return {
        "forced_mode": None if forced == "coach" else forced,  # the SDK cannot force coach
        "max_retries": orchestration.max_retries,
        "step_timeout_seconds": orchestration.step_timeout_seconds,
    }


def _adaptive_teaching(config: AtlasConfig) -> Document:
    teaching, probe = config.adaptive_teaching, config.adaptive_teaching.probe
    coached = config.orchestration.forced_mode == "coach"
    # The SDK's judge prompt cannot be replaced: ours goes before the focus prompt.
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


def _learning(loaded: LoadedConfig) -> Document:
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


def _banned(gates: GateConfig) -> list[str]:
    return list(gates.banned_incident_tokens)


def _storage(config: AtlasConfig, address: str) -> Document:
    return {
        "database_url": database_url(address),
        # Each session has its own pool and uses one connection at a time.
        "min_connections": 1,
        "max_connections": 1,
        "statement_timeout_seconds": config.storage.statement_timeout_seconds,
        "apply_schema_on_connect": False,
    }


def database_url(conninfo: str) -> str:
    """Return the asyncpg URL of a psycopg conninfo or URL."""
    parts = conninfo_to_dict(conninfo)

    def quoted(name: str) -> str:
        return quote(str(parts.get(name) or ""), safe="")

    password = f":{quoted('password')}" if parts.get("password") else ""
    query = {name: str(parts[name]) for name in ("host", "port", *_PASSED_ON) if parts.get(name)}
    return f"postgresql://{quoted('user')}{password}@/{quoted('dbname')}?{urlencode(query)}"
