"""A comparison of two baselines; as JSON, it is what `compare --json` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from crm_assets.records.results import StrictFormula
from crm_assets.reporting.comparison.power import POWER
from crm_assets.reporting.figures import Model, Rate
from crm_assets.reporting.intervals import CONFIDENCE_LEVEL
from crm_assets.reporting.origin import Origin

__all__ = [
    "COMPARISON_VERSION",
    "MEASURES",
    "ChangeCounts",
    "ComparedCall",
    "Comparison",
    "FactChange",
    "Flip",
    "Measure",
    "MeasureComparison",
    "PairedDifference",
    "PromptChange",
    "RunOutcome",
    "RunSide",
    "SliceComparison",
    "TurnPair",
]

COMPARISON_VERSION: Final = 2

Measure = Literal["strict_success", "turns_right", "state_match", "reward", "harness_reward"]
MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)

Change = Literal["gained", "lost"]
Test = Literal["mcnemar_exact", "sign_flip_exact", "sign_flip_monte_carlo", "sign_flip_normal"]


@dataclass(frozen=True)
class RunOutcome:
    """The result of one conversation in one run, as means over its sessions; None without a verdict.

    Epochs are sessions of one conversation, and so are copies of its content under other IDs.
    """

    conversation: str
    """Its ID; of copies, the first."""
    workflow: str
    complexity: str
    sessions: int
    """Number of times that the run ran it."""
    strict_success: float | None = None
    """Share of the sessions with a verdict that have strict success."""
    turns_right: float | None = None
    """Share of the sessions with a verdict in which every turn succeeded."""
    state_match: float | None = None
    """Share of the sessions with a verdict that ended in the expected state."""
    reward: float | None = None
    """Mean of the judges' scores."""
    harness_reward: float | None = None
    """Mean share of turns that succeeded."""
    noop_state_match: bool | None = None
    """True if an agent that calls nothing leaves the expected end state; None where that is not known."""


class PairedDifference(Model):
    """The difference of two runs over the conversations that have a verdict in both."""

    conversations: int
    """Number of these conversations."""
    mean_a: float | None
    """Run A's mean over them; null without any."""
    mean_b: float | None
    """Run B's mean over them."""
    difference: float | None
    """B − A."""
    low: float | None
    """Lower end of the difference's 95 % interval; null if all differ alike, or with only one."""
    high: float | None
    """Upper end of the difference's 95 % interval."""
    better: int
    """Conversations in which B did better."""
    worse: int
    """Conversations in which B did worse."""
    test: Test | None
    """The test behind the p-value; null without any conversation."""
    p_value: float | None
    """Two-sided: the probability of a difference at least as large between equally good runs."""
    mid_p_value: float | None
    """McNemar's mid-p variant; null for the other tests."""
    detectable_difference: float | None
    """The smallest true difference that 80 % of such comparisons find; null if there is none."""


class MeasureComparison(Model):
    """The two runs by one measure."""

    measure: Measure
    """The measure."""
    paired: PairedDifference
    """Their difference."""
    without_verdict: int
    """Conversations that both ran and that have no verdict in at least one; in no figure."""
    without_verdict_a: int
    """Those without a verdict in A."""
    without_verdict_b: int
    """Those without a verdict in B."""


class SliceComparison(MeasureComparison):
    """The two runs by one measure, over the conversations of one workflow or complexity."""

    by: Literal["workflow", "complexity"]
    """The kind of slice."""
    name: str
    """Name of the workflow or complexity."""
    adjusted_p_value: float | None
    """Adjusted by Holm's method over all slices of the measure."""


class FactChange(Model):
    """A recorded setting that differs between two runs."""

    fact: str
    """Its path in the sessions' metadata, as in `agent.llm.model`."""
    a: Any
    """Run A's value; null where it is not recorded."""
    b: Any
    """Run B's value; null where it is not recorded."""


class PromptChange(Model):
    """A text that a role was told differently in two runs."""

    role: str
    """The role: student, teacher, judge, …"""
    what: str
    """`system prompt`, or `tool` and its name."""
    difference: str
    """Unified diff: lines of A alone begin with -, of B alone with +."""


class ComparedCall(Model):
    """The agent's call in one turn, with the harness's verdict."""

    tool: str | None
    """The called tool; null if none was called."""
    arguments: Any
    """The arguments of the call."""
    error: str | None
    """The tool's error."""
    reply: str | None
    """The agent's reply to the user."""
    verification: str | None
    """The harness's verdict, as in `argument_mismatch`."""
    success: bool | None
    """True if the turn succeeded; null without a verdict."""


class TurnPair(Model):
    """One turn in both runs."""

    turn_id: int
    """Position in the conversation, from 1."""
    user_utterance: str
    """The user's text (run A's, where references were filled differently)."""
    expected_tool: str | None
    """The tool of the ground truth."""
    a: ComparedCall | None
    """Run A's; null if it did not reach this turn."""
    b: ComparedCall | None
    """Run B's; null if it did not reach this turn."""
    call_differs: bool
    """True for different calls (of several, the decisive ones); IDs that the sessions generated themselves
    do not count."""
    further_calls_differ: bool
    """True if a run made several calls in this turn and not all calls are the same."""
    verdict_differs: bool
    """True for different verdicts."""

    @property
    def differs(self) -> bool:
        """Return True for different calls or verdicts."""
        return self.call_differs or self.further_calls_differ or self.verdict_differs


class Flip(Model):
    """One conversation with different outcomes."""

    conversation_id: str
    """ID of the conversation."""
    workflow: str
    """Its workflow."""
    complexity: str
    """Its complexity."""
    strict_success: Change | None
    """Gained (B better) or lost (A better) on `Comparison.main_measure`; null if equal or without a
    verdict."""
    state_match: Change | None
    """The same for the end state."""
    epoch_a: int
    """The epoch of A in `turns`."""
    epoch_b: int
    """The epoch of B in `turns`."""
    first_differing_turn: int | None
    """The first turn with a different call or verdict; null if all turns are the same."""
    turns: tuple[TurnPair, ...]
    """All turns, side by side."""


class ChangeCounts(Model):
    """Conversations with different outcomes."""

    lost: int = 0
    """Lost on `Comparison.main_measure`."""
    gained: int = 0
    """Gained on it."""
    state_alone: int = 0
    """Different in the end state alone."""
    state_lost: int = 0
    """With an end state lost, whatever else changed."""
    state_gained: int = 0
    """With an end state gained, whatever else changed."""

    @property
    def total(self) -> int:
        """Return the number of conversations with different outcomes."""
        return self.lost + self.gained + self.state_alone


class RunSide(Model):
    """One of the two runs."""

    run: str
    """Its key."""
    run_id: str | None
    """Its ID in the sessions."""
    agent: str | None
    """Name of the agent."""
    dataset_revision: str | None
    """SHA-256 of the dataset it ran on."""
    strict_success_formula: StrictFormula
    """Formula of its strict success."""
    sessions: int
    """Lines of its sessions.jsonl."""
    conversations: int
    """Conversation IDs among them."""
    epochs: int
    """Most runs of a conversation."""
    statuses: dict[str, int]
    """Sessions by status."""
    taught_by: int | None = None
    """Its conversations that had taught its playbook before; null where no playbook is recorded."""
    origin: Origin | None = None
    """The run that it repeats; null for one that measured its results itself."""


class Comparison(Model):
    """Two baselines of one dataset, compared conversation by conversation."""

    schema_version: Literal[2] = COMPARISON_VERSION
    """Version of this layout."""
    dataset: str
    """Name of the dataset."""
    a: RunSide
    """The reference run."""
    b: RunSide
    """The compared run: every difference is B − A."""
    confidence_level: float = CONFIDENCE_LEVEL
    """Level of every interval here."""
    power: float = POWER
    """Power of `detectable_difference`."""
    seed: int
    """Seed of all resampling."""
    resamples: int
    """Resamples of an interval, and of a p-value that is not exact."""
    intersection: bool
    """True if the dataset changed and only its unchanged conversations were compared."""
    repetition: str | None = None
    """Why the runs are one sample, in a sentence: one repeats the other; null for two samples."""
    conversations: int
    """Conversations compared, each content once."""
    copies: int
    """Compared conversation IDs whose content stands under another ID, too."""
    state_match_floor: Rate | None
    """State match of an agent that calls nothing, over the compared conversations; null where neither run
    records it."""
    only_in_a: int
    """Conversation IDs left out because B did not run them."""
    only_in_b: int
    """Conversations left out because A did not run them."""
    changed: int
    """Conversations left out because their content changed."""
    provenance: tuple[FactChange, ...]
    """Recorded settings that differ between the runs."""
    prompts: tuple[PromptChange, ...] = ()
    """System prompts and tools that differ; none where a run recorded no requests."""
    notes: tuple[str, ...]
    """Remarks to read before the figures, one sentence each."""
    measures: tuple[MeasureComparison, ...]
    """The comparison by each measure."""
    slices: tuple[SliceComparison, ...]
    """The comparison by each measure and slice."""
    changes: ChangeCounts
    """Conversations with different outcomes, by how they differ."""
    flips: tuple[Flip, ...]
    """Conversations with different outcomes: lost, gained, then those with another end state only; of each,
    at most the first 100 by ID."""

    @property
    def main_measure(self) -> Measure:
        """Return strict success, or every turn correct if the runs define strict success differently."""
        same = self.a.strict_success_formula == self.b.strict_success_formula
        return "strict_success" if same else "turns_right"

    def by(self, measure: Measure) -> MeasureComparison:
        """Return the comparison by `measure`."""
        return next(each for each in self.measures if each.measure == measure)
