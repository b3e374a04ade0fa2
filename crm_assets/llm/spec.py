"""Describes a model as a configuration names it, and how it is reached: key, address, way of speaking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crm_assets.errors import ConfigError

__all__ = ["NO_KEY", "OFFLINE_PROVIDER", "ModelSpec", "base_of", "is_own_server", "key_of", "server_of"]

OFFLINE_PROVIDER = "offline"

NO_KEY = "no-key-needed"
"""Sent to a server of one's own that was given no key."""

_OPENAI = "https://api.openai.com/v1"
_BASES = {"openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE")}
_KEYS = {
    "openai": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}
_PROVIDER_HOSTS = (".openai.com", ".openai.azure.com", ".anthropic.com", ".googleapis.com")


class ModelSpec(BaseModel):
    """A model and its call parameters. Names the environment variable of the API key, never the key."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    provider: str = Field(pattern=r"^[a-z0-9_]+$")
    """litellm's name of the provider: openai, gemini, anthropic, …; `offline` for the offline models."""
    model: str = Field(min_length=1)
    """The provider's name of the model."""
    client: Literal["direct", "litellm"] = "direct"
    """Client of an `openai` model: ours, or litellm, which all other providers are asked through."""
    api_key_env: str | None = None
    """Environment variable with the API key; default: the provider's usual one."""
    api_base: str | None = None
    """URL of an OpenAI-compatible server; default: the provider's own."""
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    """Sampling temperature, 0–2; default: the provider's."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Maximum tokens of a reply; default: the provider's."""
    timeout_seconds: float = Field(default=60.0, gt=0.0)
    """Timeout of one call, without retries; grows when calls to a server of your own time out."""
    usd_per_million_prompt_tokens: float | None = Field(default=None, ge=0.0)
    """Price of a million prompt tokens; overrides litellm's list, which does not apply to your own
    servers."""
    usd_per_million_cached_prompt_tokens: float | None = Field(default=None, ge=0.0)
    """Price of a million prompt tokens read from the cache; default: at most that of the others."""
    usd_per_million_completion_tokens: float | None = Field(default=None, ge=0.0)
    """Price of a million completion tokens; overrides litellm's list, which does not apply to your own
    servers."""

    @model_validator(mode="after")
    def _both_prices(self) -> ModelSpec:
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        if (prices[0] is None) != (prices[1] is None):
            raise ValueError(
                "give both usd_per_million_prompt_tokens and usd_per_million_completion_tokens, or neither"
            )
        if prices[0] is None and self.usd_per_million_cached_prompt_tokens is not None:
            raise ValueError("usd_per_million_cached_prompt_tokens needs usd_per_million_prompt_tokens")
        return self

    def __hash__(self) -> int:
        """Return a hash of the name alone: several tables have a model as their key in every call."""
        return hash((self.provider, self.model))

    @property
    def name(self) -> str:
        """Return `provider/model`, litellm's name of the model."""
        prefix = f"{self.provider}/"
        return self.model if self.model.startswith(prefix) else prefix + self.model

    @property
    def is_offline(self) -> bool:
        """Return True for one of the offline models."""
        return self.provider == OFFLINE_PROVIDER

    @property
    def is_direct(self) -> bool:
        """Return True for a model that is asked without litellm."""
        return self.provider == "openai" and self.client == "direct"

    @property
    def key_variable(self) -> str | None:
        """Return the environment variable of the required API key; None if no key is needed."""
        if self.is_offline:
            return None
        return self.api_key_env or _KEYS.get(self.provider)

    @property
    def base_variables(self) -> tuple[str, ...]:
        """Return the environment variables that may contain the server's URL; the first one set counts."""
        return _BASES.get(self.provider, ())


def base_of(spec: ModelSpec, environment: Mapping[str, str]) -> str | None:
    """Return the address of the model's server; None for the provider's own."""
    given = [environment.get(name) for name in spec.base_variables]
    return spec.api_base or next(filter(None, given), None)


def is_own_server(spec: ModelSpec, environment: Mapping[str, str]) -> bool:
    """Return True for a server that is not the provider's: list prices do not apply there."""
    base = base_of(spec, environment)
    if base is None:
        return False
    host = f".{urlsplit(base).hostname or ''}"
    return not host.endswith(_PROVIDER_HOSTS)


def server_of(spec: ModelSpec, environment: Mapping[str, str]) -> str:
    """Return the server's address without user, password or query; a provider's name for its own.

    It identifies who shares limits, and goes into records.
    """
    base = base_of(spec, environment)
    if base is None:
        return _OPENAI if spec.provider == "openai" else spec.provider
    parts = urlsplit(base)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"


def key_of(spec: ModelSpec, environment: Mapping[str, str]) -> str | None:
    """Return the model's key; None where there is none to give.

    Raises:
        ConfigError: it needs one that is not there; the variable is named.
    """
    if spec.is_offline:
        return None
    variable = spec.key_variable
    key = environment.get(variable or f"{spec.provider.upper()}_API_KEY")
    if key or (variable is None and base_of(spec, environment) is None):
        return key  # litellm knows what a provider of its own kind needs
    if base_of(spec, environment) is not None and spec.api_key_env is None:
        return NO_KEY
    raise ConfigError(
        f"The model {spec.name} needs a key: set {variable} in the environment or in .env "
        "(see configs/atlas/.env.example)."
    )
