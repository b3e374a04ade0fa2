"""Origin of results that a run did not measure itself: a replay, or another run's results file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from crm_assets.records import ReplayedRun
from crm_assets.reporting.figures import Model
from crm_assets.reporting.formats import plain

__all__ = ["Origin", "origin_of"]


class Origin(Model):
    """The results that a run repeats: it called no model, is no new sample, and cost nothing."""

    kind: Literal["replay", "rescored", "import"]
    """Its model calls were answered from a ledger (replay); its calls were taken from a results file
    (rescored), or from one that was imported."""
    dataset: str | None
    """The repeated run's; null for a file of no baseline here."""
    run: str | None
    """The repeated run's key; null for a file of no baseline here."""
    file: str
    """The file that it was taken from."""
    sha256: str
    """Hex SHA-256 of that file's content."""

    @property
    def label(self) -> str:
        """Return what the run is, in a few words."""
        name = plain(self.run or self.file)
        return {
            "replay": f"replay of {name}",
            "rescored": f"calls of {name}, scored again",
            "import": f"import of {name}",
        }[self.kind]

    @property
    def sample(self) -> str:
        """Return the sample that it repeats: `dataset|run`, or the file's hash."""
        return f"{self.dataset}|{self.run}" if self.run else self.sha256


def origin_of(agent: Mapping[str, Any] | None, replay_of: ReplayedRun | None) -> Origin | None:
    """Return what a run repeats; None for one that measured its results itself.

    Args:
        agent: the agent and its settings, as a run's header or metrics have it.
        replay_of: the baseline that was replayed; None for none, and for runs of older versions.
    """
    facts = agent or {}
    imported, rescored = facts.get("imported"), facts.get("recorded_sha256")
    if imported:
        file, sha256 = str(imported["file"]), str(imported["sha256"])
    elif rescored:
        file, sha256 = str(facts.get("recorded")), str(rescored)
    elif replay_of is not None:
        file, sha256 = replay_of.file, replay_of.sha256
    else:
        return None
    return Origin(
        kind="import" if imported else "rescored" if rescored else "replay",
        dataset=replay_of.dataset if replay_of else None,
        run=replay_of.run if replay_of else None,
        file=file,
        sha256=sha256,
    )
