"""The model of a call and its parameters: an LLM section of a configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["OFFLINE_PROVIDER", "ModelSpec"]

OFFLINE_PROVIDER = "offline"

_BASES = {"openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE")}
_KEYS = {
    "openai": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}


class ModelSpec(BaseModel):
    """A model and its call parameters. Names the environment variable of the API key, never the key."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    provider: str = Field(pattern=r"^[a-z0-9_]+$")
    """litellm's name of the provider: openai, gemini, anthropic, …; `offline` for the offline models."""
    model: str = Field(min_length=1)
    """The provider's name of the model."""
    api_key_env: str | None = None
    """Environment variable with the API key; default: the provider's usual one."""
    api_base: str | None = None
    """URL of an OpenAI-compatible server; default: the provider's own."""
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    """Sampling temperature, 0–2; default: the provider's."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Maximum tokens of a reply; default: the provider's."""
    timeout_seconds: float = Field(default=60.0, gt=0.0)
    """Timeout of one call, without retries."""
    usd_per_million_prompt_tokens: float | None = Field(default=None, ge=0.0)
    """Price of a million prompt tokens; overrides litellm's price list."""
    usd_per_million_completion_tokens: float | None = Field(default=None, ge=0.0)
    """Price of a million completion tokens; overrides litellm's price list."""

    @model_validator(mode="after")
    def _both_prices(self) -> ModelSpec:
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        if (prices[0] is None) != (prices[1] is None):
            raise ValueError(
                "give both usd_per_million_prompt_tokens and usd_per_million_completion_tokens, or neither"
            )
        return self

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
    def key_variable(self) -> str | None:
        """Return the environment variable of the required API key; None if no key is needed."""
        if self.is_offline:
            return None
        return self.api_key_env or _KEYS.get(self.provider)

    @property
    def base_variables(self) -> tuple[str, ...]:
        """Return the environment variables that may contain the server's URL; the first one set counts."""
        return _BASES.get(self.provider, ())
