"""How a model is reached: its key and its server's address, from configuration and environment."""

from __future__ import annotations

from collections.abc import Mapping

from crm_assets.errors import ConfigError
from crm_assets.llm.spec import ModelSpec

__all__ = ["NO_KEY", "address_of", "base_of", "key_of"]

NO_KEY = "no-key-needed"
"""Servers of one's own may want none, but the client library wants something."""


def base_of(spec: ModelSpec, environment: Mapping[str, str]) -> str | None:
    """The address of the model's server; None for the provider's own."""
    given = [environment.get(name) for name in spec.base_variables]
    return spec.api_base or next(filter(None, given), None)


def address_of(spec: ModelSpec, environment: Mapping[str, str]) -> str:
    """Provider and server: who shares limits."""
    return f"{spec.provider} {base_of(spec, environment) or ''}".strip()


def key_of(spec: ModelSpec, environment: Mapping[str, str]) -> str | None:
    """The model's key; None where there is none to give.

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
