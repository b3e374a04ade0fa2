"""The contents of leaderboard.json."""

from __future__ import annotations

from typing import Final, Literal

from crm_assets.reporting.comparison.matrix_models import SetApart
from crm_assets.reporting.figures import Model, Rate
from crm_assets.reporting.intervals import CONFIDENCE_LEVEL

__all__ = ["BOARD_VERSION", "Board", "BoardPair", "BoardSystem", "DatasetRate"]

BOARD_VERSION: Final = 1


class DatasetRate(Model):
    """A system's strict success on one dataset of a board over several."""

    dataset: str
    """Name of the dataset."""
    strict_success: Rate
    """Over the conversations of the board."""


class BoardSystem(Model):
    """One system of a board."""

    label: str
    """Its letter: A for the one with the highest rate."""
    name: str
    """Agent, model, and what tells it from the others."""
    runs: tuple[str, ...]
    """Its runs, as `dataset|run`."""
    rank: int | None
    """1 plus the number of systems that are significantly better; null if it is the only system."""
    strict_success: Rate
    """Over the conversations of the board, each by the mean of its sessions."""
    by_dataset: tuple[DatasetRate, ...] = ()
    """The same by dataset, on a board over several."""
    better_than: tuple[str, ...] = ()
    """Labels of the systems that it is significantly better than."""
    cost_usd: float | None
    """US dollars of a conversation, mean over its runs; null if unknown, or if no model was asked."""
    seconds: float | None
    """Seconds of a conversation, mean over its runs; null if unknown."""
    on_front: bool = False
    """No other system costs at most as much and succeeds at least as often."""


class BoardPair(Model):
    """Two systems: the difference is B − A."""

    a: str
    """Label of the first system."""
    b: str
    """Label of the second system."""
    conversations: int
    """Conversations with a verdict for both."""
    difference: float | None
    """Mean difference in strict success; null without such a conversation."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    """Upper end of its 95 % interval."""
    p_value: float | None
    """Two-sided p-value."""
    adjusted_p_value: float | None
    """Adjusted by Holm's method over all pairs of the board."""


class Board(Model):
    """Systems on the same conversations."""

    schema_version: Literal[1] = BOARD_VERSION
    """Version of this layout."""
    datasets: tuple[str, ...]
    """The datasets that the conversations are of."""
    conversations: int
    """Conversations that all systems ran, each content once."""
    confidence_level: float = CONFIDENCE_LEVEL
    """Level of every interval here."""
    systems: tuple[BoardSystem, ...]
    """Highest rate first; the order within a rank says nothing."""
    pairs: tuple[BoardPair, ...]
    """The comparison of each pair."""
    set_apart: tuple[SetApart, ...]
    """Finished runs that are not on the board, with the reason."""
