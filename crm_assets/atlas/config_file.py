"""Reads an Atlas configuration, with what the environment and the command line change of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import ValidationError

from crm_assets.atlas.choices import LearningMode, ModelRole
from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.plan import SessionPlan
from crm_assets.errors import ConfigError
from crm_assets.llm import OFFLINE_PROVIDER, ModelSpec
from crm_assets.workspace.yaml_documents import read_yaml

__all__ = [
    "OFFLINE_VARIABLE",
    "LoadedConfig",
    "is_offline",
    "load_config",
]

OFFLINE_VARIABLE = "ATLAS_OFFLINE_MODE"
"""Set to 1, the offline models stand in for any."""
_TRUE = frozenset({"1", "true", "yes", "on"})
_PLACES: Mapping[ModelRole, tuple[tuple[str, str], ...]] = {
    "student": (("agent", "llm"),),
    "teacher": (("teacher", "llm"),),
    "judge": (("rim", "small_model"), ("rim", "large_model")),
    "learner": (("learning", "llm"),),
}
"""Keys of a role's models in the configuration."""


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration as a run uses it."""

    path: Path
    config: AtlasConfig
    offline: bool
    """True if the offline models stand in for those of the file."""
    tool_mode_was_auto: bool = False
    """The agent's tool mode was found out; the settings keep `auto`."""

    @property
    def learning_mode(self) -> LearningMode:
        """Return the learning mode that the learning section sets."""
        learning = self.config.learning
        if not learning.enabled:
            return "off"
        return "on" if learning.update_enabled else "frozen"

    @cached_property
    def sha256(self) -> str:
        """Return the hex SHA-256 of `settings`."""
        return hashlib.sha256(orjson.dumps(self.settings, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def settings(self) -> dict[str, object]:
        """Return all that can change a result: no addresses, keys, timeouts, limits or prices."""
        document = self.config.model_dump(mode="json", by_alias=True, exclude=set(_NO_SETTINGS))
        del document["learning"][
            "namespace"
        ]  # the run says which it was, with the dataset's as the default
        if self.tool_mode_was_auto:
            document["agent"]["tool_mode"] = "auto"
        return {name: _with_effect(value) for name, value in document.items()}

    def with_tool_mode(self, mode: Literal["native", "text"]) -> LoadedConfig:
        """Return the configuration with the tool mode that `auto` came to."""
        agent = self.config.agent.model_copy(update={"tool_mode": mode})
        config = self.config.model_copy(update={"agent": agent})
        return replace(self, config=config, tool_mode_was_auto=True)

    def models(self) -> dict[str, ModelSpec]:
        """Return every model that may be called, by its role."""
        config = self.config
        named = {
            **({"student": config.agent.llm} if config.agent.llm is not None else {}),
            "teacher": config.teacher.llm,
            "judge": config.rim.small_model,
            "arbiter": config.rim.large_model,
            "learner": config.learning.llm,
        }
        if config.adaptive_teaching.probe.llm is not None:
            named["probe"] = config.adaptive_teaching.probe.llm
        return named


def load_config(
    path: Path, *, environment: Mapping[str, str], plan: SessionPlan | None = None
) -> LoadedConfig:
    """Return the configuration in `path` with the plan's changes, offline if the environment says so.

    Raises:
        ConfigError: the file cannot be read, or holds a key or a value that means nothing; all of them
            are named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"Cannot read the configuration {path}: {error.strerror or error}; name one of configs/atlas."
        ) from error
    return _loaded(path, content, frozenset(environment.items()), plan or SessionPlan())


@lru_cache(maxsize=8)  # so that the parts of a command share one
def _loaded(
    path: Path, content: bytes, environment: frozenset[tuple[str, str]], plan: SessionPlan
) -> LoadedConfig:
    config = _parse(path, _merged(_read(path, content), plan))
    if _wants_offline(config, dict(environment), plan):
        return LoadedConfig(path, _offline(config), offline=True)
    return LoadedConfig(path, config, offline=False)


def _read(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = read_yaml(content)
    except ValueError as error:
        raise ConfigError(f"{path} is not YAML ({error}); correct it.") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no configuration; start from configs/atlas/crm_harness.yaml.")
    return document


def _merged(document: dict[str, Any], plan: SessionPlan) -> dict[str, Any]:
    merged = {
        name: dict(part) if isinstance(part, dict) else part
        for name, part in document.items()
        if part is not None or name not in AtlasConfig.model_fields  # null: a section without a key
    }

    def override(section: str, **keys: Any) -> None:
        part = merged.setdefault(section, {})
        if isinstance(part, dict):  # anything else is refused when the document is validated
            part.update(keys)

    for role, name in plan.models.items():
        for section, key in _PLACES[role]:
            part = merged.get(section)
            before = part.get(key) if isinstance(part, dict) else None
            override(section, **{key: _with_model(before, name, role)})
    if plan.learning is not None:
        on = plan.learning == "on"
        override("learning", enabled=plan.learning != "off", update_enabled=on)
    if plan.namespace is not None:
        override("learning", namespace=plan.namespace)
    if plan.mode is not None:
        override("orchestration", forced_mode=plan.mode)
    if plan.feedback is not None:
        merged["feedback"] = plan.feedback
    if plan.engine is not None:
        merged["engine"] = plan.engine
    return merged


def _with_model(section: Any, name: str, role: str) -> dict[str, Any]:
    """Return an LLM section with another model, without the key, address and prices of the old one."""
    provider, slash, model = name.partition("/")
    if not (slash and provider and model):
        raise ConfigError(f"--{role} wants provider/model, as in openai/gpt-4.1-mini, not {name!r}.")
    before = dict(section) if isinstance(section, dict) else {}
    if before.get("provider") != provider:
        before.pop("api_key_env", None)
        before.pop("api_base", None)
    for price in ("usd_per_million_prompt_tokens", "usd_per_million_completion_tokens"):
        before.pop(price, None)
    return {**before, "provider": provider, "model": model}


def _parse(path: Path, document: dict[str, Any]) -> AtlasConfig:
    try:
        return AtlasConfig.model_validate(document)
    except ValidationError as error:
        problems = [
            _problem(item["loc"], item["type"], item["msg"]) for item in error.errors(include_url=False)
        ]
        raise ConfigError(f"{path} cannot be used: {'; '.join(problems)}.") from None


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        return f"{where} is no key of a configuration"
    if kind == "missing":
        return f"{where} is missing"
    return f"{where}: {message.removeprefix('Value error, ')}"


_NO_SETTINGS = ("storage", "limits", "confirm_above_usd")
"""Parts of a configuration that change no result."""

_NO_EFFECT = frozenset(
    {
        *("api_base", "api_key_env", "client", "timeout_seconds", "step_timeout_seconds"),
        *("usd_per_million_prompt_tokens", "usd_per_million_cached_prompt_tokens"),
        "usd_per_million_completion_tokens",
    }
)
"""Keys that change no reply: addresses, keys, timeouts, prices."""


def _with_effect(value: object) -> object:
    """Return a part of a configuration without the keys that change no reply."""
    if isinstance(value, dict):
        return {name: _with_effect(part) for name, part in value.items() if name not in _NO_EFFECT}
    return value


def is_offline(environment: Mapping[str, str]) -> bool:
    """Return True if the environment selects offline models, whatever the configuration says."""
    return environment.get(OFFLINE_VARIABLE, "").strip().lower() in _TRUE


def _wants_offline(config: AtlasConfig, environment: Mapping[str, str], plan: SessionPlan) -> bool:
    if is_offline(environment):
        return True
    if config.offline != "without_keys" or plan.models:
        return False  # who names a model wants that one
    specs = LoadedConfig(Path(), config, offline=False).models().values()
    wanted = {spec.key_variable for spec in specs if spec.key_variable is not None}
    has_own_server = any(
        spec.api_base is not None or any(environment.get(name) for name in spec.base_variables)
        for spec in specs
    )
    return bool(wanted) and not has_own_server and not any(environment.get(name) for name in wanted)


def _offline(config: AtlasConfig) -> AtlasConfig:
    """Return the configuration with every model replaced by an offline one."""
    update: dict[str, Any] = {}
    for role, places in _PLACES.items():
        for section, key in places:
            part = update.get(section, getattr(config, section))
            spec = getattr(part, key)
            if spec is None:  # an agent of the user's own asks its own model
                continue
            stand_in = ModelSpec(
                provider=OFFLINE_PROVIDER,
                model=role,
                temperature=spec.temperature,
                max_output_tokens=spec.max_output_tokens,
                timeout_seconds=spec.timeout_seconds,
            )
            update[section] = part.model_copy(update={key: stand_in})
    teaching = config.adaptive_teaching
    probe = teaching.probe.model_copy(update={"llm": None})
    update["adaptive_teaching"] = teaching.model_copy(update={"probe": probe})
    return config.model_copy(update=update)
