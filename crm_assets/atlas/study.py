"""The plan of a study: does learning help on conversations that it never saw? Its arms and their runs.

The arm `on` learns on the part to teach. Then every arm is scored, with what was learned frozen or absent:
on the held-out part, again and again in interleaved order, so that a server that changes meanwhile changes
all arms; and the arm `on` and its control on the part that was taught, for the gain through memory. Each
arm has a playbook namespace of its own, empty at the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crm_assets.atlas.choices import LearningMode
from crm_assets.atlas.plan import SessionPlan
from crm_assets.conversations.split import Split, Subset
from crm_assets.errors import InputError
from crm_assets.workspace.keys import BaselineKey, RunKey

__all__ = ["STUDY_VERSION", "ArmRun", "StudyPlan", "Use"]

STUDY_VERSION: Final = 1
_FEWEST = 2  # arms: one to study, one to compare it with

Use = Literal["teach", "held-out", "seen"]
"""Purpose of a run: learning, scoring on unseen conversations, or scoring on those it learned from."""


class ArmRun(NamedTuple):
    """A run of an arm: an ordinary baseline."""

    key: BaselineKey
    arm: LearningMode
    use: Use
    repeat: int
    """From 1."""
    subset: Subset
    plan: SessionPlan


class StudyPlan(BaseModel):
    """plan.json: what a study compares, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = STUDY_VERSION
    dataset: str
    run: str
    """The study's key, from which the keys of its runs follow."""
    dataset_revision: str
    """Hex SHA-256 of the dataset's file."""
    arms: tuple[LearningMode, ...] = get_args(LearningMode)
    """Arms to compare: learning `on`, `frozen` with an empty playbook, and `off`."""
    repeats: int = Field(default=3, ge=1)
    """Number of times that each arm is scored."""
    split: Split = Split()
    """The parts to teach and to hold out."""
    sessions: SessionPlan = SessionPlan()
    """The options of all sessions; each arm sets its own learning mode and namespace."""

    @model_validator(mode="after")
    def _comparable(self) -> StudyPlan:
        if "on" not in self.arms or len(set(self.arms)) != len(self.arms) or len(self.arms) < _FEWEST:
            raise InputError("A study compares the arm on with off, frozen, or both: --arms off,frozen,on.")
        taken = [
            name for name in ("learning", "namespace", "replay") if getattr(self.sessions, name) is not None
        ]
        if self.sessions.agent != "atlas" or self.sessions.epochs != 1 or taken:
            raise InputError(
                "A study runs the agent atlas, once a conversation, and sets learning and namespace "
                f"itself: leave {', '.join(taken) or 'agent and epochs'} out, and use --repeats."
            )
        return self

    @property
    def control(self) -> LearningMode:
        """Return the arm that `on` is compared with: `off`, if it is there."""
        return "off" if "off" in self.arms else "frozen"

    def namespace(self, arm: LearningMode) -> str:
        """Return the namespace of an arm's playbook."""
        return f"study-{self.run.lower()}-{arm}"

    def runs(self) -> Iterator[ArmRun]:
        """Yield the runs in their order: teaching first, then the arms by turns."""
        yield self._run("on", "teach", 1)
        for repeat in range(1, self.repeats + 1):
            turn = (repeat - 1) % len(self.arms)
            arms = (*self.arms[turn:], *self.arms[:turn])
            yield from (self._run(arm, "held-out", repeat) for arm in arms)
            yield from (self._run(arm, "seen", repeat) for arm in arms if arm in ("on", self.control))

    def _run(self, arm: LearningMode, use: Use, repeat: int) -> ArmRun:
        study = RunKey.parse(self.run)
        label = f"{study.label or 'study'}-{arm}-{use}-{repeat}"
        learning: LearningMode = "on" if use == "teach" else "off" if arm == "off" else "frozen"
        options = {"learning": learning, "namespace": self.namespace(arm)}
        return ArmRun(
            key=BaselineKey.of(self.dataset, RunKey(study.started, label)),
            arm=arm,
            use=use,
            repeat=repeat,
            subset=Subset(part="held-out" if use == "held-out" else "teach", split=self.split),
            plan=self.sessions.model_copy(update=options),
        )
