"""A comparison of many baselines; as JSON, it is what `compare --json` prints for more than two."""

from __future__ import annotations

from typing import Final, Literal

from crm_assets.reporting.comparison.models import Measure, MeasureComparison, RunSide
from crm_assets.reporting.figures import Model
from crm_assets.reporting.intervals import CONFIDENCE_LEVEL

__all__ = [
    "MATRIX_VERSION",
    "ConversationRow",
    "MatrixRun",
    "PairComparison",
    "RunMatrix",
    "RunMean",
    "SetApart",
]

MATRIX_VERSION: Final = 1


class RunMean(Model):
    """A run's mean of one measure."""

    measure: Measure
    """The measure."""
    conversations: int
    """Compared conversations with a verdict."""
    mean: float | None
    """Mean over them; null without any."""


class MatrixRun(Model):
    """A compared run."""

    label: str
    """Its letter here: A for the first."""
    side: RunSide
    """What its files say of it."""
    means: tuple[RunMean, ...]
    """Its mean of each measure."""


class SetApart(Model):
    """A run that is not compared."""

    run: str
    """Its key."""
    reason: str
    """How its sample differs from that of the first run."""


class PairComparison(MeasureComparison):
    """Two runs by one measure: the difference is B − A."""

    a: str
    """Key of run A, the one that was named first."""
    b: str
    """Key of run B."""
    adjusted_p_value: float | None
    """Adjusted by Holm's method over all pairs of runs; null without a p-value."""


class ConversationRow(Model):
    """The outcomes of one conversation in all runs."""

    conversation_id: str
    """Its ID; of copies, the first."""
    workflow: str
    """Its workflow."""
    complexity: str
    """Its complexity."""
    outcomes: tuple[float | None, ...]
    """By run, in the order of `RunMatrix.runs`: the share of its sessions with a verdict that have strict
    success; null without a verdict."""

    @property
    def differs(self) -> bool:
        """Return True if two runs have different outcomes."""
        return len({outcome for outcome in self.outcomes if outcome is not None}) > 1


class RunMatrix(Model):
    """Baselines of one dataset, each compared with each other."""

    schema_version: Literal[1] = MATRIX_VERSION
    """Version of this layout."""
    dataset: str
    """Name of the dataset."""
    runs: tuple[MatrixRun, ...]
    """The compared runs, as they were named."""
    set_apart: tuple[SetApart, ...]
    """The other ones."""
    confidence_level: float = CONFIDENCE_LEVEL
    """Level of every interval here."""
    seed: int
    """Seed of all resampling."""
    resamples: int
    """Resamples of an interval, and of a p-value that is not exact."""
    intersection: bool
    """True if the dataset changed between the runs and only its unchanged conversations were compared."""
    conversations: int
    """Conversations that all of these runs ran, each content once: those compared."""
    pairs: tuple[PairComparison, ...]
    """The comparison of each pair of runs, by each measure."""
    outcomes: tuple[ConversationRow, ...]
    """The outcomes of every conversation, by ID."""

    def by(self, measure: Measure) -> tuple[PairComparison, ...]:
        """Return the pairs by `measure`."""
        return tuple(pair for pair in self.pairs if pair.measure == measure)
