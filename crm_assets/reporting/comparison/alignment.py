"""The compared conversations of two runs, with their outcomes side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crm_assets.reporting.comparison.runs import UNKNOWN_CONTENT, RunOutcomes

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from crm_assets.reporting.comparison.runs import Means, Numbers

__all__ = ["PairedRuns", "PairedSide", "SliceKind", "pair_runs"]

SliceKind = Literal["workflow", "complexity"]


@dataclass(frozen=True)
class PairedSide:
    """One of two runs."""

    run: RunOutcomes
    owners: Numbers
    """The compared conversation of each conversation ID of the run; -1 for one that is left out."""
    means: Means
    """By measure, the mean of each compared conversation; NaN without a verdict."""


@dataclass(frozen=True)
class PairedRuns:
    """The compared conversations, each content once, in the order of their IDs."""

    ids: NDArray[np.object_]
    """Its ID; of copies, the first."""
    slices: NDArray[np.object_]
    """Its workflow or complexity; empty if they are not sliced."""
    noop: Numbers
    """1 if an agent that calls nothing leaves the expected end state, 0 if not, -1 if no run says so."""
    a: PairedSide
    b: PairedSide


def pair_runs(
    a: RunOutcomes, b: RunOutcomes, ids: pd.Index[str], *, by: SliceKind | None = None
) -> PairedRuns:
    """Pair the conversations `ids`, which are sorted, of two runs.

    Copies of one content are one conversation, unless they differ in what the conversations are sliced by.
    """
    import numpy as np  # noqa: PLC0415  (heavy)
    import pandas as pd  # noqa: PLC0415  (heavy)

    places = [run.conversations.index.get_indexer(ids) for run in (a, b)]
    of_a, of_b = (run.conversations.iloc[place] for run, place in zip((a, b), places, strict=True))
    contents = of_a["content"].to_numpy()
    for other in (of_b["content"].to_numpy(), np.array([hash(name) for name in ids])):
        contents = np.where(contents == UNKNOWN_CONTENT, other, contents)
    slices = of_a[by].to_numpy(object) if by else np.full(len(ids), "", dtype=object)
    numbers, names = pd.factorize(slices)
    owners = pd.factorize(pd.factorize(contents)[0] * len(names) + numbers)[0].astype("int64")
    _, firsts = np.unique(owners, return_index=True)

    def side(run: RunOutcomes, place: Numbers) -> PairedSide:
        of_run = np.full(len(run.conversations), -1, dtype=np.int64)
        of_run[place] = owners
        means = run.means(of_run)
        if a.side.strict_success_formula != b.side.strict_success_formula:
            means["strict_success"][:] = np.nan  # two formulas: each run's own is not the other's
        return PairedSide(run, of_run, means)

    noop_a, noop_b = (each["noop"].to_numpy()[firsts] for each in (of_a, of_b))
    return PairedRuns(
        ids=ids.to_numpy(object)[firsts],
        slices=slices[firsts],
        noop=np.where(noop_a < 0, noop_b, noop_a),
        a=side(a, places[0]),
        b=side(b, places[1]),
    )
