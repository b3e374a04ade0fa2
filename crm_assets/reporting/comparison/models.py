"""What a comparison of two baselines holds; dumped as JSON, it is what `compare --json` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from crm_assets.reporting.comparison.power import POWER
from crm_assets.reporting.figures import Model
from crm_assets.reporting.intervals import CONFIDENCE_LEVEL

__all__ = [
    "COMPARISON_VERSION",
    "MEASURES",
    "Call",
    "Comparison",
    "FactChange",
    "Flip",
    "Measure",
    "MeasureComparison",
    "Outcome",
    "PairedDifference",
    "RunSide",
    "SliceComparison",
    "TurnPair",
]

COMPARISON_VERSION: Final = 1

Measure = Literal["strict_success", "state_match", "reward", "harness_reward"]
MEASURES: Final[tuple[Measure, ...]] = ("strict_success", "state_match", "reward", "harness_reward")

Change = Literal["gained", "lost"]
Test = Literal["mcnemar_exact", "sign_flip_exact", "sign_flip_monte_carlo"]


@dataclass(frozen=True)
class Outcome:
    """What came of one conversation in one run; null is no verdict, and means are over its epochs."""

    conversation: str
    workflow: str
    complexity: str
    epochs: int
    """How many times the run ran it."""
    strict_success: float | None = None
    """Share of the epochs with a verdict in which every turn succeeded."""
    state_match: float | None = None
    """Share of the epochs with a verdict that left the right end state."""
    reward: float | None = None
    """Mean of the judges' scores."""
    harness_reward: float | None = None
    """Mean share of turns that succeeded."""

    def value(self, measure: Measure) -> float | None:
        """The outcome by `measure`."""
        value: float | None = getattr(self, measure)
        return value


class PairedDifference(Model):
    """How two runs differ over the conversations that have a verdict in both."""

    conversations: int
    """How many those are."""
    mean_a: float | None
    """Run A's mean over them; null when there are none."""
    mean_b: float | None
    """Run B's mean over them."""
    difference: float | None
    """B − A."""
    low: float | None
    """Lower end of the difference's 95 % interval; null where all differ alike, or just one does."""
    high: float | None
    """Upper end of the difference's 95 % interval."""
    better: int
    """Conversations in which B did better."""
    worse: int
    """Conversations in which B did worse."""
    test: Test | None
    """How the p-value came about; null when there was nothing to test."""
    p_value: float | None
    """Two-sided: how likely a difference at least as large would be between equally good runs."""
    mid_p_value: float | None
    """McNemar's mid-p variant; null for the other tests."""
    detectable_difference: float | None
    """The smallest true difference found in 80 % of such comparisons; null when none could be."""


class MeasureComparison(Model):
    """The two runs by one measure."""

    measure: Measure
    """What was measured."""
    paired: PairedDifference
    """How they differ."""
    without_verdict: int
    """Conversations that both ran and that lack a verdict in at least one; in no figure."""
    without_verdict_a: int
    """Those without one in A."""
    without_verdict_b: int
    """Those without one in B."""


class SliceComparison(MeasureComparison):
    """The two runs by one measure, over the conversations of one workflow or complexity."""

    by: Literal["workflow", "complexity"]
    """What the slice was cut by."""
    name: str
    """Which workflow or complexity."""
    adjusted_p_value: float | None
    """Holm's, over all slices of the measure."""


class FactChange(Model):
    """Something that the runs say of themselves, and say differently."""

    fact: str
    """Its path in the sessions' metadata, as in `agent.llm.model`."""
    a: Any
    """Run A's value; null where it does not say."""
    b: Any
    """Run B's value; null where it does not say."""


class Call(Model):
    """What the agent did in one turn, and what the harness said to it."""

    tool: str | None
    """The tool that was called; null for none."""
    arguments: Any
    """As the agent gave them."""
    error: str | None
    """The tool's refusal."""
    reply: str | None
    """What the agent told the user."""
    verification: str | None
    """The verdict in a word, as in `argument_mismatch`."""
    success: bool | None
    """Whether the turn succeeded; null without a verdict."""


class TurnPair(Model):
    """One turn in both runs."""

    turn_id: int
    """Position in the conversation, from 1."""
    user_utterance: str
    """What the user said (to A, where references were filled differently)."""
    expected_tool: str | None
    """The tool of the ground truth."""
    a: Call | None
    """Run A's; null where it did not get there."""
    b: Call | None
    """Run B's; null where it did not get there."""
    call_differs: bool
    """Whether another call was made; IDs that the sessions generated themselves do not count."""
    verdict_differs: bool
    """Whether the harness's verdict is another."""


class Flip(Model):
    """One conversation that came out differently."""

    conversation_id: str
    """Which."""
    workflow: str
    """Its workflow."""
    complexity: str
    """Its complexity."""
    strict_success: Change | None
    """Gained (B better) or lost (A better); null where it is the same or has no verdict."""
    state_match: Change | None
    """The same of the end state."""
    epoch_a: int
    """The epoch of A that `turns` shows."""
    epoch_b: int
    """The epoch of B that `turns` shows."""
    first_differing_turn: int | None
    """The first turn with another call or verdict; null where the turns are the same."""
    turns: tuple[TurnPair, ...]
    """All turns, side by side."""


class RunSide(Model):
    """One of the two runs."""

    run: str
    """Its key."""
    run_id: str | None
    """How its sessions name it."""
    agent: str | None
    """Who answered."""
    dataset_revision: str | None
    """SHA-256 of the dataset it ran on."""
    sessions: int
    """Lines of its sessions.jsonl."""
    conversations: int
    """Conversations among them."""
    epochs: int
    """How many times a conversation was run, at most."""
    statuses: dict[str, int]
    """Sessions by what became of them."""


class Comparison(Model):
    """Two baselines of one dataset, compared conversation by conversation."""

    schema_version: Literal[1] = COMPARISON_VERSION
    """Version of this layout."""
    dataset: str
    """Name of the dataset."""
    a: RunSide
    """The run that is compared with."""
    b: RunSide
    """The run that is compared: every difference is B − A."""
    confidence_level: float = CONFIDENCE_LEVEL
    """Level of every interval here."""
    power: float = POWER
    """What `detectable_difference` stands for."""
    seed: int
    """Of every draw."""
    resamples: int
    """Draws behind an interval, and behind a p-value that is not exact."""
    intersection: bool
    """Whether the dataset changed between the runs, and only what is the same in both was compared."""
    conversations: int
    """Conversations compared."""
    only_in_a: int
    """Conversations left out because B has no session of them."""
    only_in_b: int
    """Conversations left out because A has no session of them."""
    changed: int
    """Conversations left out because their content is another in B."""
    provenance: tuple[FactChange, ...]
    """What differs between the runs besides their outcomes."""
    notes: tuple[str, ...]
    """What a reader should know before the figures, a sentence each."""
    measures: tuple[MeasureComparison, ...]
    """The whole, by each measure."""
    slices: tuple[SliceComparison, ...]
    """The parts, by each measure."""
    flips: tuple[Flip, ...]
    """What came out differently: lost ones first, then gained ones, then end states alone."""

    def by(self, measure: Measure) -> MeasureComparison:
        """The whole by `measure`."""
        return next(each for each in self.measures if each.measure == measure)
