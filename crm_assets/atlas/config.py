"""An Atlas configuration: `configs/atlas/*.yaml`.

Every key means something here; one that is not known is an error that names it. Sections and names are
the Atlas SDK's where it has them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from crm_assets.atlas.transcript import Feedback
from crm_assets.llm import ModelSpec

__all__ = [
    "AdaptiveTeachingConfig",
    "AgentConfig",
    "AtlasConfig",
    "DriftConfig",
    "Engine",
    "ExecutionMode",
    "GateConfig",
    "LearningConfig",
    "LimitConfig",
    "OrchestrationConfig",
    "PlaybookSchemaConfig",
    "ProbeConfig",
    "ProbeThresholds",
    "PruningConfig",
    "RewardConfig",
    "RubricWeights",
    "RuntimeSafetyConfig",
    "StorageConfig",
    "StudentConfig",
    "TeacherConfig",
    "UsageTrackingConfig",
]

ExecutionMode = Literal["auto", "paired", "coach"]
Engine = Literal["crm_assets", "sdk"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class AgentConfig(_Section):
    """The student: who works on the CRM."""

    type: Literal["crm_harness"] = "crm_harness"
    """Runs CRM conversations through the harness; there is no other."""
    name: str = "crm-student"
    """What it is called in results."""
    system_prompt: str = "You are a CRM assistant. Use the tools to do what the user asks."
    """The first text that it reads, behind what was learnt."""
    backend: Literal["postgres"] = "postgres"
    """Where the CRM lives."""
    use_llm_judge: bool = False
    """Whether a model (`rim.small_model`) judges what is not equal to the expected call or reply."""
    tool_mode: Literal["native", "text"] = "native"
    """`text` writes the tools into the prompt and reads calls from the reply, for models without tools."""
    llm: ModelSpec
    """The student model."""


class StudentConfig(_Section):
    """How the student is asked."""

    tool_choice: Literal["auto", "required"] = "auto"
    """Whether it may answer a turn without calling a tool."""
    max_step_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of one reply, instead of the model's `max_output_tokens`."""


class TeacherConfig(_Section):
    """Who validates, and reviews plans in mode coach."""

    llm: ModelSpec
    """The teacher model."""
    validation_prompt: str | None = None
    """Instead of the one that comes along."""


class OrchestrationConfig(_Section):
    """How a session goes."""

    forced_mode: ExecutionMode | None = None
    """The mode of every session; left out, `adaptive_teaching` decides."""
    max_retries: int = Field(default=1, ge=0, le=1)
    """How often the student runs again with guidance when the teacher is not content."""
    step_timeout_seconds: float = Field(default=900.0, gt=0.0)
    """Longest time of one run of the student; beyond it the session failed, no verdict."""


class ProbeThresholds(_Section):
    """From which confidence on a mode is taken."""

    auto: Share = 0.85
    """From here on the student works alone."""
    paired: Share = 0.65
    """From here on it is validated; below, the teacher reviews its plan first."""
    coach: Share = 0.35
    """The SDK's; below it the mode is coach, too."""

    @model_validator(mode="after")
    def _in_order(self) -> ProbeThresholds:
        if not self.auto >= self.paired >= self.coach:
            raise ValueError("thresholds must be in the order auto ≥ paired ≥ coach")
        return self


class ProbeConfig(_Section):
    """The capability probe: asks a model how well the student will do."""

    llm: ModelSpec | None = None
    """Left out, the teacher's model."""
    thresholds: ProbeThresholds = ProbeThresholds()
    fallback_mode: Literal["paired", "coach"] = "paired"
    """The mode when the probe fails."""
    evidence_limit: int = Field(default=6, ge=1, le=32)
    """Past sessions that it is shown."""
    timeout_seconds: float = Field(default=15.0, gt=0.0)
    """Longest time of its answer, retries and all."""


class AdaptiveTeachingConfig(_Section):
    """Which mode a session runs in, where none is forced."""

    enabled: bool = True
    """Off: every session is paired."""
    mode_override: ExecutionMode | None = None
    """Instead of asking the probe."""
    probe: ProbeConfig = ProbeConfig()
    default_tags: tuple[str, ...] = ()
    """Tags of every session."""
    learning_key_override: str | None = None
    """One learning key for all sessions, instead of one a workflow and complexity."""
    focus_prompt: str | None = None
    """What judges are told to look at in particular."""


class RewardConfig(_Section):
    """The reward model (RIM): three judgements, and an arbiter where they disagree."""

    small_model: ModelSpec
    """Judges every session, three times."""
    large_model: ModelSpec
    """Has the last word where the three disagree."""
    judge_prompt: str | None = None
    """Instead of the one that comes along."""
    variance_threshold: float = Field(default=0.15, ge=0.0)
    """Standard deviation of the scores above which the large model decides."""
    uncertainty_threshold: Share = 0.30
    """Uncertainty of a judgement above which the large model decides."""


class PlaybookSchemaConfig(_Section):
    """What a playbook entry may be."""

    allowed_runtime_handles: tuple[str, ...] = ()
    """Tools that an entry's action may name; left empty, all of the CRM's."""
    cue_types: tuple[Literal["regex", "keyword", "predicate"], ...] = ("regex", "keyword", "predicate")
    """Kinds of cues that entries may have."""


class GateConfig(_Section):
    """Which entries get in."""

    enforce_actionability: bool = True
    """Whether an entry must say what to do, with a tool that there is."""
    enforce_cue: bool = True
    """Whether its cue must be of a known kind, and safe to match."""
    enforce_generality: bool = True
    """Whether it must be about more than one case: no dates, paths, IDs, banned words."""
    max_text_length: int = Field(default=420, ge=100, le=2000)
    """Characters of an entry's texts beyond which concision suffers."""
    banned_incident_tokens: tuple[str, ...] = ("incident", "ticket", "case", "postmortem")
    """Words that make an entry about one case."""


class RubricWeights(_Section):
    """How an entry's scores are weighed."""

    actionability: Share = 0.4
    """Whether it can be acted on."""
    generality: Share = 0.3
    """Whether it is about more than one case."""
    hookability: Share = 0.2
    """How surely its cue can be matched."""
    concision: Share = 0.1
    """How short it is."""


class PruningConfig(_Section):
    """Which entries go again, once they have been watched."""

    min_sessions: int = Field(default=10, ge=1)
    """Sessions an entry is watched before any of the rules applies."""
    min_cue_hit_rate: Share = 0.05
    """Below: its cue hardly ever comes up."""
    min_reward_delta: float = Field(default=0.01, ge=-1.0, le=1.0)
    """Sessions with it minus sessions before it; below the negative, or below it though adopted: no use."""
    min_transfer_sessions: int = Field(default=20, ge=1)
    """Sessions after which it must have served two conversations."""


class UsageTrackingConfig(_Section):
    """Counting where entries' cues come up and are followed."""

    enabled: bool = True
    """Off: entries are not watched, and so never pruned for what came of them."""


class LearningConfig(_Section):
    """What is learnt from sessions."""

    llm: ModelSpec
    """The learner model."""
    enabled: bool = True
    """Off: nothing is learnt, and nothing that was learnt is used."""
    update_enabled: bool = True
    """Off: what was learnt is used and stays as it is."""
    apply_to_prompts: bool = True
    """Whether the pamphlets stand in the prompts."""
    history_limit: int = Field(default=10, ge=1, le=200)
    """Past sessions of the key that the learner is shown."""
    prompts: dict[Literal["synthesizer"], str] = {}
    """Instead of those that come along."""
    schema_: PlaybookSchemaConfig = Field(default=PlaybookSchemaConfig(), alias="schema")
    gates: GateConfig = GateConfig()
    rubric_weights: RubricWeights = RubricWeights()
    pruning_config: PruningConfig = PruningConfig()
    usage_tracking: UsageTrackingConfig = UsageTrackingConfig()


class StorageConfig(_Section):
    """The telemetry database."""

    database_url: str | None = None
    """Its address; `STORAGE__DATABASE_URL` counts first, and without either it is the project's own."""
    min_connections: int = Field(default=1, ge=1)
    """Kept open."""
    max_connections: int = Field(default=4, ge=1)
    """At most; a session needs one while it begins and while it is stored."""
    statement_timeout_seconds: float = Field(default=30.0, gt=0.0)
    """Longest time of one statement."""

    @model_validator(mode="after")
    def _in_order(self) -> StorageConfig:
        if self.min_connections > self.max_connections:
            raise ValueError("min_connections must not be above max_connections")
        return self


class DriftConfig(_Section):
    """When a reward is far from what it used to be."""

    enabled: bool = True
    """Off: no session is held against those before it."""
    window: int = Field(default=50, ge=1)
    """Past rewards of the key that it is held against."""
    z_threshold: float = Field(default=3.0, gt=0.0)
    """Deviations from which on it is an alert."""
    min_baseline: int = Field(default=5, ge=2)
    """With fewer past rewards there is no alert."""


class ReviewConfig(_Section):
    """Whether a person must approve sessions before they are exported."""

    require_approval: bool = True
    """Off: sessions are approved at once, but for those with a drift alert."""


class RuntimeSafetyConfig(_Section):
    """Guards over what is stored."""

    review: ReviewConfig = ReviewConfig()
    drift: DriftConfig = DriftConfig()


class LimitConfig(_Section):
    """How fast one provider may be asked."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Most requests a minute; left out, no limit of ours."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Most tokens a minute; left out, no limit of ours."""
    max_connections: int = Field(default=64, ge=1)
    """Most calls at a time; how many there are within that is found out."""


class AtlasConfig(_Section):
    """A whole configuration."""

    agent: AgentConfig
    student: StudentConfig = StudentConfig()
    teacher: TeacherConfig
    orchestration: OrchestrationConfig = OrchestrationConfig()
    adaptive_teaching: AdaptiveTeachingConfig = AdaptiveTeachingConfig()
    rim: RewardConfig
    learning: LearningConfig
    storage: StorageConfig = StorageConfig()
    runtime_safety: RuntimeSafetyConfig = RuntimeSafetyConfig()
    feedback: Feedback = "verdicts"
    """What judges and learner get of the harness's knowledge; `oracle` shows them the answers."""
    offline: Literal["never", "without_keys"] = "never"
    """`without_keys`: with none of the keys that the models need, the offline models are asked."""
    engine: Engine = "crm_assets"
    """Who drives sessions: this project, or the Atlas SDK (extra `atlas-sdk`)."""
    limits: dict[str, LimitConfig] = {}
    """By provider."""

    @field_validator("limits")
    @classmethod
    def _known_providers(cls, limits: dict[str, LimitConfig]) -> dict[str, LimitConfig]:
        for name in limits:
            if not re.fullmatch(r"[a-z0-9_]+", name):
                raise ValueError(f"{name!r} is no provider")
        return limits
