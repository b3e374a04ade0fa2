"""Which model to ask, and how: an LLM section of a configuration."""

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
    """One model as a configuration names it. Holds the name of a key's variable, never a key."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    provider: str = Field(pattern=r"^[a-z0-9_]+$")
    """litellm's name of the provider: openai, gemini, anthropic, …; `offline` asks nobody."""
    model: str = Field(min_length=1)
    """The provider's name of the model."""
    api_key_env: str | None = None
    """The variable that holds the key; left out, the provider's usual one."""
    api_base: str | None = None
    """Address of an OpenAI-compatible server; left out, the provider's own."""
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    """Left out, the provider's default."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Left out, the provider's default."""
    timeout_seconds: float = Field(default=60.0, gt=0.0)
    """Of one call, retries not counted."""
    usd_per_million_prompt_tokens: float | None = Field(default=None, ge=0.0)
    """The price, where litellm's list has none or another."""
    usd_per_million_completion_tokens: float | None = Field(default=None, ge=0.0)
    """The price, where litellm's list has none or another."""

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
        """`provider/model`, as litellm has it."""
        prefix = f"{self.provider}/"
        return self.model if self.model.startswith(prefix) else prefix + self.model

    @property
    def is_offline(self) -> bool:
        """Whether it is one of the models that come along."""
        return self.provider == OFFLINE_PROVIDER

    @property
    def key_variable(self) -> str | None:
        """The environment variable that must hold a key; None where none is needed."""
        if self.is_offline:
            return None
        return self.api_key_env or _KEYS.get(self.provider)

    @property
    def base_variables(self) -> tuple[str, ...]:
        """The environment variables that may hold the server's address, the first one set counts."""
        return _BASES.get(self.provider, ())
