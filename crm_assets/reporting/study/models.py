"""study.json: what learning gained, with a control."""

from __future__ import annotations

from typing import Literal

from crm_assets.atlas.study import STUDY_VERSION, StudyPlan
from crm_assets.reporting.comparison.models import PairedDifference
from crm_assets.reporting.figures import Model

__all__ = ["Arm", "ArmFigures", "Gain", "LearnedEntry", "Learning", "Study"]


class ArmFigures(Model):
    """Figures of one run of an arm."""

    run: str
    """Its key: an ordinary baseline."""
    use: Literal["teach", "held-out", "seen"]
    repeat: int
    conversations: int
    strict_success: float | None
    """Share of its conversations with a verdict that succeeded."""
    tokens: int | None
    cost_usd: float | None
    playbook_entries: int | None
    """At its start; null where no playbook was used."""
    playbook_sha256: str | None


class Arm(Model):
    """One arm."""

    name: str
    namespace: str
    runs: tuple[ArmFigures, ...]
    held_out: float | None
    """Mean strict success over its held-out scorings, each content once."""
    tokens_per_conversation: float | None
    """On the held-out part."""
    cost_usd_per_conversation: float | None
    """On the held-out part."""


class Gain(Model):
    """Difference of two arms in strict success; a pair is one content."""

    arm: str
    over: str
    on: Literal["held-out", "seen"]
    paired: PairedDifference
    """A is `over`, B is `arm`."""
    without_verdict: int
    """Contents without a verdict in one of the arms, in no figure."""
    needed: int | None
    """Contents that a sure answer needs (level .05, power 80 %) if difference and spread are as observed;
    null for no difference, or without a spread."""


class LearnedEntry(Model):
    """An entry that the arm `on` learned."""

    id: str
    audience: str
    cue: str
    imperative: str
    tool: str | None


class Learning(Model):
    """Lessons of a study, and their cost."""

    conversations: int
    """Taught on."""
    entries: int
    version: int
    sha256: str
    shown: tuple[LearnedEntry, ...]
    """The first of them."""
    tokens: int | None
    """Of the run that taught, all roles; null where none were reported."""
    cost_usd: float | None
    """Of the run that taught, all roles; null if unknown."""
    tokens_per_point: float | None
    """Tokens of teaching for each percentage point gained on the held-out part; null without a gain."""
    cost_usd_per_point: float | None
    """Dollars of teaching for each percentage point gained on the held-out part; null without a gain."""


class Study(Model):
    """The result of a study."""

    schema_version: Literal[1] = STUDY_VERSION
    plan: StudyPlan
    taught: int
    """Conversations in the part to teach."""
    held_out: int
    """Conversations in the held-out part."""
    left_out: int
    """Conversations that could not be on both sides."""
    copies: int
    """Conversations that are copies of others in their part: each content counts once."""
    arms: tuple[Arm, ...]
    gain: Gain
    """Of learning, on conversations that it never saw."""
    seen: Gain
    """Of learning, on the conversations that it was taught on: memory is part of it."""
    noise: Gain | None
    """Of the frozen arm with an empty playbook over `off`, on the held-out part: what two arms that are the
    same differ by; null unless both are there."""
    learning: Learning
