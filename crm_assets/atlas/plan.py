"""The options of a run's sessions: fields, defaults, choices, bounds and help, defined once.

The command line makes its options from these fields (`cli/plan_options.py`), Dagster's launchpad its
configuration (`defs/sessions_config.py`), and the run reads its values from the plan itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from crm_assets.atlas.choices import (
    MODEL_ROLES,
    AgentKind,
    Engine,
    ExecutionMode,
    Feedback,
    LearningMode,
    ModelRole,
)
from crm_assets.errors import InputError
from crm_assets.workspace.keys import parse_namespace

__all__ = ["MODEL_AGENTS", "SCRIPTED_AGENTS", "PlanField", "SessionPlan", "Use", "plan_fields"]

MODEL_AGENTS: tuple[AgentKind, ...] = ("atlas", "student")
"""Agents that call language models."""

SCRIPTED_AGENTS: tuple[AgentKind, ...] = ("replay", "noop", "recorded")
"""Agents that call none."""

_MODEL_SESSIONS = 16  # at a time: they mostly wait for replies


@dataclass(frozen=True)
class Use:
    """Say with which agents a field has an effect, and how the command line writes it."""

    agents: tuple[AgentKind, ...] = get_args(AgentKind)
    flags: tuple[str, ...] = ()
    """Left empty, `--` and the field's name."""
    metavar: str | None = None


_WITH_MODELS = Use(MODEL_AGENTS)
_Model = Annotated[str | None, Use(MODEL_AGENTS, metavar="PROVIDER/MODEL")]


class SessionPlan(BaseModel):
    """The user's choices for a run's sessions; None leaves a choice to the configuration or the agent.

    Relative paths start at the project's folder.

    Raises:
        InputError: a value is out of bounds, or values do not go together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    agent: AgentKind = "atlas"
    """Agent to run: the whole Atlas loop (atlas), its student alone (student), the ground truth (replay),
    one that does nothing (noop), or a past run (recorded)."""
    recorded: Annotated[Path | None, Use(("recorded",))] = None
    """Past results file that the agent 'recorded' takes its calls from."""
    config: Annotated[Path | None, _WITH_MODELS] = None
    """Atlas configuration; left out, the project's configs/atlas/crm_harness.dev.yaml."""
    student: _Model = None
    """Student model, instead of the configuration's."""
    teacher: _Model = None
    """Teacher model, instead of the configuration's."""
    judge: _Model = None
    """Model of all judges, instead of the configuration's."""
    learner: _Model = None
    """Learner model, instead of the configuration's."""
    learning: Annotated[LearningMode | None, _WITH_MODELS] = None
    """Learn from each session (on), only use what was learned before (frozen), or neither (off)."""
    namespace: Annotated[str | None, _WITH_MODELS] = None
    """Playbooks to use and extend: a dataset's name, or shared; left out, the configuration's, or those of
    this dataset."""
    mode: Annotated[ExecutionMode | None, _WITH_MODELS] = None
    """Execution mode of every session."""
    feedback: Annotated[Feedback | None, _WITH_MODELS] = None
    """Ground truth shown to judges and learner: none, the turns' verdicts (verdicts), or also the expected
    calls, too (oracle)."""
    engine: Annotated[Engine | None, _WITH_MODELS] = None
    """Driver of the loop: this package (crm_assets), or the Atlas SDK (sdk)."""
    epochs: Annotated[int, Field(ge=1), _WITH_MODELS] = 1
    """Number of times that each conversation is run."""
    concurrency: Annotated[int | None, Field(ge=1), Use(flags=("--sessions", "--concurrency"))] = None
    """Sessions at a time, in each process; left out, 16 for agents with models, else 1."""
    workers: Annotated[int, Field(ge=1), Use(SCRIPTED_AGENTS)] = 1
    """Worker processes (agents without a model only)."""
    budget_usd: Annotated[float | None, Field(gt=0), _WITH_MODELS] = None
    """US dollars at which the run stops; finished sessions are kept."""
    budget_tokens: Annotated[int | None, Field(ge=1), _WITH_MODELS] = None
    """Tokens at which the run stops; finished sessions are kept."""
    replay: Annotated[Path | None, Use(MODEL_AGENTS, metavar="RUN")] = None
    """Recorded run to answer all model calls from: its key, its folder, or its ledger."""

    @model_validator(mode="wrap")
    @classmethod
    def _one_sentence(cls, values: Any, check: ModelWrapValidatorHandler[SessionPlan]) -> SessionPlan:
        try:
            return check(values)
        except ValidationError as error:
            problems = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
            raise InputError("; ".join(f"{name}: {problem}" for name, problem in problems) + ".") from None

    @model_validator(mode="after")
    def _go_together(self) -> SessionPlan:
        for field in plan_fields():
            if self.agent not in field.use.agents and getattr(self, field.name) != field.default:
                raise InputError(
                    f"{field.name} has no effect with agent {self.agent!r} (only with "
                    f"{', '.join(field.use.agents)}); leave it out."
                )
        if self.namespace is not None:
            parse_namespace(self.namespace)
        if self.agent == "recorded" and self.recorded is None:
            raise InputError("Agent 'recorded' needs a past run's results file (--recorded FILE).")
        return self

    @property
    def asks_models(self) -> bool:
        """Return whether the agent calls language models."""
        return self.agent in MODEL_AGENTS

    @property
    def models(self) -> dict[ModelRole, str]:
        """Return the models that replace the configuration's, as `provider/model` by role."""
        return {role: name for role in MODEL_ROLES if (name := getattr(self, role)) is not None}

    @property
    def has_budget(self) -> bool:
        """Return whether the run may stop before every session is done."""
        return self.budget_usd is not None or self.budget_tokens is not None

    @property
    def sessions_at_a_time(self) -> int:
        """Return how many sessions run at a time in each process."""
        return self.concurrency or (_MODEL_SESSIONS if self.asks_models else 1)


class PlanField(NamedTuple):
    """A field of `SessionPlan`, as interfaces need it."""

    name: str
    type: Any
    """Of its values: `str` for a choice; None is allowed where it is the default."""
    choices: tuple[str, ...]
    """Left empty, any value."""
    bounds: tuple[Any, ...]
    """`Ge` and `Gt` of the package annotated_types."""
    default: Any
    help: str
    use: Use


@cache
def plan_fields() -> tuple[PlanField, ...]:
    """Return the fields of `SessionPlan`, in their order."""
    found = []
    for name, field in SessionPlan.model_fields.items():
        kind = field.annotation
        if get_origin(kind) is not Literal:  # X | None: its first part
            kind = next(iter(get_args(kind)), kind)
        is_choice = get_origin(kind) is Literal
        found.append(
            PlanField(
                name=name,
                type=str if is_choice else kind or str,
                choices=get_args(kind) if is_choice else (),
                bounds=tuple(item for item in field.metadata if not isinstance(item, Use)),
                default=field.default,
                help=" ".join((field.description or "").split()),
                use=next((item for item in field.metadata if isinstance(item, Use)), Use()),
            )
        )
    return tuple(found)
