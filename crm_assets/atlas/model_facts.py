"""A run of language models and its facts: which models, with which prompts and settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.playbook import SHARED
from crm_assets.atlas.prompt_hashes import prompt_hashes
from crm_assets.atlas.sdk import require_sdk
from crm_assets.atlas.student_prompt import prompt_sha256
from crm_assets.atlas.working_agents import own_agent_facts

__all__ = ["ModelRun", "describe_models"]

_SHORT = 12


@dataclass(frozen=True)
class ModelRun:
    """A plan with models, and what it names: the configuration and the ledger to replay."""

    plan: SessionPlan
    config: LoadedConfig
    namespace: str = SHARED
    """Whose playbooks its sessions use and extend."""
    replay: Path | None = None
    """The ledger of a recorded run over the same tasks: no model is called, only files are written."""
    project: str | None = None
    """Identity of the project, for the telemetry; None before the run begins."""
    folder: Path | None = None
    """The project's, where modules of agents are looked for; None before the run begins."""

    @property
    def by_sdk(self) -> bool:
        """Tell whether the Atlas SDK drives the loop."""
        return self.plan.agent == "atlas" and self.config.config.engine == "sdk"

    @property
    def uses_playbook(self) -> bool:
        """Tell whether sessions read the playbook of the telemetry database."""
        learning = self.plan.agent == "atlas" and self.config.learning_mode != "off"
        return learning and self.replay is None

    @property
    def in_order(self) -> bool:
        """Tell whether sessions of one learning key wait for each other."""
        return self.plan.agent == "atlas" and self.config.learning_mode == "on"


def _of_agent(run: ModelRun) -> dict[str, Any]:
    """Return the student's model, or what an agent of the user's own is."""
    agent = run.config.config.agent
    if agent.type == "crm_harness":
        return {"model": agent.model.name}
    return own_agent_facts(agent, run.folder)


def describe_models(run: ModelRun) -> dict[str, Any]:
    """Return who works and all that can change the outcome; part of the run's identity."""
    config = run.config.config
    atlas = run.plan.agent == "atlas"
    roles = run.config.models()
    prompts = {"student": prompt_sha256(config.agent)[:_SHORT]}
    facts: dict[str, Any] = {
        "name": config.agent.name,
        "type": config.agent.type,
        "loop": run.plan.agent,
        **_of_agent(run),
        "offline": run.config.offline,
        "tool_mode": config.agent.tool_mode,
        "calls_per_turn": config.agent.calls_per_turn,
        "use_llm_judge": config.agent.use_llm_judge,
        "epochs": run.plan.epochs,
        "config_sha256": run.config.sha256[:_SHORT],
    }
    if atlas:
        facts |= {
            "models": {name: spec.name for name, spec in roles.items()},
            "mode": config.orchestration.forced_mode or "adaptive",
            "max_retries": config.orchestration.max_retries,
            "learning": run.config.learning_mode,
            "namespace": run.namespace,
            "feedback": config.feedback,
        }
    if run.by_sdk:
        facts["engine"] = f"arc-atlas {require_sdk()}"  # whose prompts these are, too
    elif atlas:
        prompts |= prompt_hashes()
    return {**facts, "prompts": prompts}
