"""The models of an Atlas configuration: `configs/atlas/*.yaml`.

Unknown keys are an error that names them. Sections and keys have the Atlas SDK's names where it has them.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from crm_assets.atlas.choices import CallsPerTurn, Engine, ExecutionMode, Feedback
from crm_assets.llm import ModelSpec

__all__ = [
    "AdaptiveTeachingConfig",
    "AgentConfig",
    "AtlasConfig",
    "DriftConfig",
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

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


_KEY_OF_TYPE = {
    "crm_harness": ("llm", "name the student's model"),
    "python": ("factory", "write module:factory"),
    "mcp": ("command", "write the program and its arguments as a list"),
    "http": ("url", "write the service's address"),
}


class AgentConfig(_Section):
    """The student: the agent that works on the CRM."""

    type: Literal["crm_harness", "python", "mcp", "http"] = "crm_harness"
    """`crm_harness`: the language model `llm`, asked by the harness. The others are agents of your own
    (docs/agents.md): `python`, a factory in the project's environment; `mcp`, a program that has the tools
    as an MCP server; `http`, a service."""
    factory: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    """Factory of an agent of type `python`: `module:factory`. Modules are looked for in the project's
    folder, then in its environment."""
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Program of an agent of type `mcp` and its arguments, a list. It works in the project's folder."""
    url: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    """Address of an agent of type `http`, to which turns are posted."""
    turn_timeout_seconds: float = Field(default=120.0, gt=0.0)
    """Time that an agent of your own may take for a turn; that of its calls does not count."""
    name: str = "crm-student"
    """The agent's name in results."""
    system_prompt: str = "You are a CRM assistant. Use the tools to do what the user asks."
    """Start of the system prompt, after the playbook block."""
    backend: Literal["postgres"] = "postgres"
    """Backend of the CRM."""
    use_llm_judge: bool = False
    """Let a model (`rim.small_model`) judge calls and replies that differ from the expected ones."""
    tool_mode: Literal["native", "text", "auto"] = "native"
    """`text`: write the tools into the prompt and read calls from the reply, for models or servers without
    tools; `auto`: ask the server once which of the two it takes."""
    calls_per_turn: CallsPerTurn = "one"
    """`one`: only the first call of a turn is made; `many`: all are made, in order, and the student can
    make more when it has their results. The prompt should say so, too."""
    max_calls_per_turn: int = Field(default=8, ge=2, le=64)
    """Maximum calls of one turn with `many`."""
    llm: ModelSpec | None = None
    """The student model; an agent of your own has none here."""

    @model_validator(mode="after")
    def _of_one_type(self) -> AgentConfig:
        needed, hint = _KEY_OF_TYPE[self.type]
        if getattr(self, needed) is None:
            raise ValueError(f"{needed} is missing: {hint}")
        for type_, (key, _) in _KEY_OF_TYPE.items():
            if key != needed and getattr(self, key) is not None:
                raise ValueError(f"{key} has an effect only with type: {type_}; leave it out")
        return self

    @property
    def own(self) -> str | None:
        """Return what an agent of your own is known by: its factory, command or address."""
        return shlex.join(self.command) if self.command else self.factory or self.url

    @property
    def model(self) -> ModelSpec:
        """Return the student model of type `crm_harness`."""
        assert self.llm is not None  # as `_of_one_type` sees to
        return self.llm

    @property
    def most_calls(self) -> int:
        """Return the maximum number of calls of a turn."""
        return self.max_calls_per_turn if self.calls_per_turn == "many" else 1


class StudentConfig(_Section):
    """Parameters of the student's calls."""

    tool_choice: Literal["auto", "required"] = "auto"
    """`auto` allows a turn without a tool call."""
    max_step_tokens: int | None = Field(default=None, ge=1)
    """Maximum tokens of one reply; overrides the model's `max_output_tokens`."""


class TeacherConfig(_Section):
    """The teacher: validates attempts, and reviews plans in mode coach."""

    llm: ModelSpec
    """The teacher model."""
    validation_prompt: str | None = None
    """Replaces the built-in prompt."""


class OrchestrationConfig(_Section):
    """Mode, retries and timeout of a session."""

    forced_mode: ExecutionMode | None = None
    """The mode of every session; if empty, `adaptive_teaching` decides."""
    max_retries: int = Field(default=1, ge=0, le=1)
    """Attempts after the first, with guidance, while the teacher finds the attempt invalid."""
    step_timeout_seconds: float = Field(default=900.0, gt=0.0)
    """Timeout of one attempt, less waits for budget and limits; a session beyond it has no verdict."""


class ProbeThresholds(_Section):
    """Minimum confidence of each mode."""

    auto: Share = 0.85
    """At or above: the student works alone."""
    paired: Share = 0.65
    """At or above: the attempt is validated; below: the teacher also reviews the plan first."""
    coach: Share = 0.35
    """For the SDK only; below it the mode is also coach."""

    @model_validator(mode="after")
    def _in_order(self) -> ProbeThresholds:
        if not self.auto >= self.paired >= self.coach:
            raise ValueError("thresholds must be in the order auto ≥ paired ≥ coach")
        return self


class ProbeConfig(_Section):
    """The capability probe: a model predicts how well the student will do."""

    llm: ModelSpec | None = None
    """Default: the teacher's model."""
    thresholds: ProbeThresholds = ProbeThresholds()
    fallback_mode: Literal["paired", "coach"] = "paired"
    """Mode if the probe fails."""
    evidence_limit: int = Field(default=6, ge=1, le=32)
    """Maximum number of past sessions in the probe's prompt."""
    timeout_seconds: float = Field(default=15.0, gt=0.0)
    """Timeout of the probe, including retries."""


class AdaptiveTeachingConfig(_Section):
    """Choice of a session's mode if none is forced."""

    enabled: bool = True
    """`false`: every session is paired."""
    mode_override: ExecutionMode | None = None
    """The mode of every session; skips the probe."""
    probe: ProbeConfig = ProbeConfig()
    default_tags: tuple[str, ...] = ()
    """Tags added to every session."""
    learning_key_override: str | None = None
    """One learning key for all sessions; default: one for each workflow and complexity."""
    focus_prompt: str | None = None
    """Extra instruction to the judges."""


class RewardConfig(_Section):
    """The reward model (RIM): three judgments, and an arbiter if they disagree."""

    small_model: ModelSpec
    """The judge; called three times for each session."""
    large_model: ModelSpec
    """The arbiter; its judgment replaces the three if they disagree."""
    judge_prompt: str | None = None
    """Replaces the built-in prompt."""
    variance_threshold: float = Field(default=0.15, ge=0.0)
    """Standard deviation of the scores above which the arbiter is called."""
    uncertainty_threshold: Share = 0.30
    """Uncertainty of a judgment above which the arbiter is called."""


class PlaybookSchemaConfig(_Section):
    """Allowed tools and cue types of playbook entries."""

    allowed_runtime_handles: tuple[str, ...] = ()
    """Tools that an entry may name; if empty, all CRM tools."""
    cue_types: tuple[Literal["regex", "keyword", "predicate"], ...] = ("regex", "keyword", "predicate")
    """Allowed cue types."""


class GateConfig(_Section):
    """Checks that a new playbook entry must pass."""

    enforce_actionability: bool = True
    """Require an instruction and an existing tool."""
    enforce_cue: bool = True
    """Require a cue that is usable and safe to match."""
    enforce_generality: bool = True
    """Reject case-specific entries: dates, paths, IDs, banned words."""
    max_text_length: int = Field(default=420, ge=100, le=2000)
    """Total characters of an entry's texts above which the concision score drops."""
    banned_incident_tokens: tuple[str, ...] = ("incident", "ticket", "case", "postmortem")
    """Words that make an entry case-specific."""


class RubricWeights(_Section):
    """Weights of an entry's scores."""

    actionability: Share = 0.4
    """The entry can be acted on."""
    generality: Share = 0.3
    """The entry applies to more than one case."""
    hookability: Share = 0.2
    """The cue can be matched reliably."""
    concision: Share = 0.1
    """The entry is short."""


class PruningConfig(_Section):
    """Removal of entries that show no benefit."""

    min_sessions: int = Field(default=10, ge=1)
    """Sessions with the entry before any of the rules applies."""
    min_cue_hit_rate: Share = 0.05
    """Prune if the cue matches in a smaller share of sessions."""
    min_reward_delta: float = Field(default=0.01, ge=-1.0, le=1.0)
    """Minimum gain in mean reward. Prune below its negative, or below it if the entry is often followed."""
    min_transfer_sessions: int = Field(default=20, ge=1)
    """Sessions after which the cue must have matched in two conversations."""


class UsageTrackingConfig(_Section):
    """Counting of cue matches and adoptions of entries."""

    enabled: bool = True
    """`false`: usage is not counted, so no entry is pruned for it."""


class LearningConfig(_Section):
    """Learning from sessions."""

    llm: ModelSpec
    """The learner model."""
    enabled: bool = True
    """`false`: learn nothing and use no learned content."""
    update_enabled: bool = True
    """`false`: use the learned content but do not change it."""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,100}$")] | None = None
    """Whose playbooks are used and extended. Default: the dataset's own; `shared`: one for all datasets."""
    apply_to_prompts: bool = True
    """Put the learned content into the prompts."""
    history_limit: int = Field(default=10, ge=1, le=200)
    """Maximum number of the key's past sessions in the learner's prompt."""
    prompts: dict[Literal["synthesizer"], str] = {}
    """Replaces the built-in prompt."""
    schema_: PlaybookSchemaConfig = Field(default=PlaybookSchemaConfig(), alias="schema")
    gates: GateConfig = GateConfig()
    rubric_weights: RubricWeights = RubricWeights()
    pruning_config: PruningConfig = PruningConfig()
    usage_tracking: UsageTrackingConfig = UsageTrackingConfig()


class StorageConfig(_Section):
    """The telemetry database."""

    database_url: str | None = None
    """Its URL; `STORAGE__DATABASE_URL` takes precedence. Default: the project's own database."""
    min_connections: int = Field(default=1, ge=1)
    """Connections to keep open."""
    max_connections: int = Field(default=4, ge=1)
    """Maximum connections; a session needs one only while it begins and while it is stored."""
    statement_timeout_seconds: float = Field(default=30.0, gt=0.0)
    """Timeout of one statement."""

    @model_validator(mode="after")
    def _in_order(self) -> StorageConfig:
        if self.min_connections > self.max_connections:
            raise ValueError("min_connections must not be above max_connections")
        return self


class DriftConfig(_Section):
    """Alerts for rewards that differ from the key's past rewards."""

    enabled: bool = True
    """`false`: no drift detection."""
    window: int = Field(default=50, ge=1)
    """Number of the key's past rewards to compare with."""
    z_threshold: float = Field(default=3.0, gt=0.0)
    """Deviations (standard or median absolute) at which an alert is raised."""
    min_baseline: int = Field(default=5, ge=2)
    """Minimum past rewards for an alert."""


class ReviewConfig(_Section):
    """Approval of sessions before their lessons are merged into the playbook."""

    require_approval: bool = True
    """Keep lessons out of prompts until their session is approved (`crm-assets review`); `false`: approve
    sessions automatically, except those with a drift alert."""


class RuntimeSafetyConfig(_Section):
    """Review and drift detection of stored sessions."""

    review: ReviewConfig = ReviewConfig()
    drift: DriftConfig = DriftConfig()


class LimitConfig(_Section):
    """Rate limits of one provider."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Maximum requests per minute; default: no limit."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Maximum tokens per minute; default: no limit."""
    max_connections: int = Field(default=64, ge=1)
    """Maximum concurrent calls; the actual number adapts to the provider."""


class AtlasConfig(_Section):
    """A complete configuration."""

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
    """Ground truth for judges and learner: `none`, turn `verdicts`, or `oracle`: expected calls, too."""
    offline: Literal["never", "without_keys"] = "never"
    """`without_keys`: use the offline models if none of the required API keys is set."""
    confirm_above_usd: float = Field(default=1.0, ge=0.0)
    """US dollars: a run that may cost more needs a budget or a consent (`--yes`)."""
    engine: Engine = "crm_assets"
    """Runs the sessions: this project, or the Atlas SDK (extra `atlas-sdk`)."""
    limits: dict[str, LimitConfig] = {}
    """Rate limits, by provider."""

    @field_validator("limits")
    @classmethod
    def _known_providers(cls, limits: dict[str, LimitConfig]) -> dict[str, LimitConfig]:
        for name in limits:
            if not re.fullmatch(r"[a-z0-9_]+", name):
                raise ValueError(f"{name!r} is not a provider name")
        return limits
