"""Refuses runs of language models whose options do not go together."""

from __future__ import annotations

from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.sdk import require_sdk
from crm_assets.errors import ConfigError, InputError

__all__ = ["require_possible"]


def require_possible(run: ModelRun) -> None:
    """Refuse, before any file is made, what does not go together.

    Raises:
        ConfigError: the agent, or the SDK, cannot do what is asked of it.
        InputError: a replay is to be driven by the SDK.
    """
    if run.by_sdk and run.replay is not None:
        raise InputError(
            "A replay calls no model, so engine: sdk has no effect: remove it from the configuration."
        )
    _require_builtin(run)
    if run.by_sdk:
        _require_unreviewed(run)
        require_sdk()


def _require_builtin(run: ModelRun) -> None:
    """Refuse what only the built-in student can do.

    Raises:
        ConfigError: it is asked of an agent of another type.
    """
    config = run.config.config
    if config.agent.type == "crm_harness":
        return
    reasons = {
        "a replay, since the calls of its models are in no ledger": run.replay is not None,
        "engine: sdk, which asks the student's model itself": run.by_sdk,
        "mode coach, in which the student writes a plan": config.orchestration.forced_mode == "coach",
    }
    if named := [reason for reason, holds in reasons.items() if holds]:
        raise ConfigError(f"An agent of type {config.agent.type} cannot be in {named[0]}.")


def _require_unreviewed(run: ModelRun) -> None:
    """Refuse to let the SDK teach where somebody is to approve it first: it merges at once.

    Raises:
        ConfigError: learning is on, and sessions need an approval.
    """
    if run.config.learning_mode == "on" and run.config.config.runtime_safety.review.require_approval:
        raise ConfigError(
            "The Atlas SDK merges what a session taught before anybody can approve it: with engine: sdk "
            "set runtime_safety.review.require_approval to false, or use --learning frozen or off."
        )
