"""A run in a few figures: what a table or a picture of many runs shows of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from crm_assets.conversations.split import Subset
from crm_assets.records.results import StrictFormula
from crm_assets.reporting.figures import Mean, Model, Rate
from crm_assets.reporting.formats import counted
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.origin import Origin
from crm_assets.reporting.wording import STRICT_MEANING

__all__ = ["RunFigures", "Sample", "letters", "samples_of"]


class Sample(NamedTuple):
    """The sample behind a run's figures: figures of two samples are not comparable as they stand."""

    dataset_revision: str | None
    part: str
    """Of the dataset, as by a study; `whole` for all of it, or the first of it."""
    conversations: int
    epochs: int
    strict_success_formula: StrictFormula
    replay_of: str | None
    """The run whose results are repeated; None for results of its own."""

    def differences(self, other: Sample) -> str:
        """Return in words how `other` differs; empty if it does not."""
        here, there = (
            (
                "another revision of the dataset",
                f"{each.part} part",
                counted(each.conversations, "conversation"),
                counted(each.epochs, "epoch"),
                f"strict success means {STRICT_MEANING[each.strict_success_formula]}",
                f"a replay of {each.replay_of}" if each.replay_of else "a run of its own",
            )
            for each in (self, other)
        )
        parts = [
            what if what == was else f"{what} instead of {was}"
            for mine, theirs, what, was in zip(self, other, there, here, strict=True)
            if mine != theirs
        ]
        return ", ".join(parts)


class RunFigures(Model):
    """The headline figures of a run, from its metrics.json."""

    run_id: str | None
    agent: str | None
    model: str | None
    """The student's."""
    in_loop: bool = False
    """A teacher, judges and a learner around it."""
    mode: str
    """The execution mode of most sessions."""
    dataset_revision: str | None
    """SHA-256 of the dataset's file."""
    conversations: int
    """Each content once."""
    epochs: int = 1
    without_verdict: int
    """Sessions."""
    strict_success: Rate
    strict_success_formula: StrictFormula = "turns"
    turns_right: Rate | None = None
    state_match: Rate
    state_match_floor: Rate | None = None
    reward: Mean
    tokens: int | None
    """That the run itself used, of all roles; null when none were reported."""
    cost_usd: float | None
    """That the run itself cost, of all roles; null when none was reported."""
    taught_by: int | None = None
    """Conversations of the run that had taught its playbook before, whose results may be remembered; null
    if that is unknown."""
    subset: Subset | None = None
    """The part of the dataset that was run, as by a study; null for all of it, or the first of it."""
    origin: Origin | None = None
    """Results that the run repeats; null for one that measured its results itself."""
    recorded_tokens: int | None = None
    """Of a run that repeats another, the other one's."""
    recorded_cost_usd: float | None = None
    """Of a run that repeats another, the other one's."""

    @property
    def who(self) -> str:
        """Return the agent with its model; of two alike, which was in the Atlas loop."""
        model = f" ({self.model})" if self.model else ""
        return f"{self.agent or 'unnamed'}{model}{', Atlas loop' if self.in_loop else ''}"

    @property
    def sample(self) -> Sample:
        """Return what the figures are of."""
        return Sample(
            dataset_revision=self.dataset_revision,
            part=self.subset.part if self.subset else "whole",
            conversations=self.conversations,
            epochs=self.epochs,
            strict_success_formula=self.strict_success_formula,
            replay_of=self.origin.sample if self.origin and self.origin.kind == "replay" else None,
        )

    @property
    def size(self) -> str:
        """Return how many conversations there are, and how often each ran: `60`, `8 × 3`."""
        return f"{self.conversations:,} × {self.epochs:,}" if self.epochs > 1 else f"{self.conversations:,}"

    @classmethod
    def of(cls, metrics: Metrics) -> RunFigures:
        """Return the figures of a baseline's metrics."""
        agent, modes = metrics.agent_config or {}, metrics.execution_modes
        return cls(
            run_id=metrics.run_id,
            agent=agent.get("name"),
            model=agent.get("model"),
            in_loop=metrics.loop is not None,
            mode=max(modes, key=lambda mode: (modes[mode], mode)) if modes else "unknown",
            dataset_revision=metrics.dataset_revision,
            conversations=metrics.total_conversations,
            epochs=metrics.repeats.epochs if metrics.repeats else 1,
            without_verdict=metrics.strict_success_bounds.missing if metrics.strict_success_bounds else 0,
            strict_success=metrics.strict_success,
            strict_success_formula=metrics.strict_success_formula,
            turns_right=metrics.turns_right,
            state_match=metrics.state_match,
            state_match_floor=metrics.state_match_floor,
            reward=metrics.reward_summary,
            tokens=metrics.own_tokens,
            cost_usd=metrics.own_cost_usd,
            taught_by=_taught_by(metrics),
            subset=metrics.subset,
            origin=metrics.origin,
            recorded_tokens=metrics.reported_tokens if metrics.origin else None,
            recorded_cost_usd=metrics.recorded_cost_usd,
        )


def _taught_by(metrics: Metrics) -> int | None:
    """Return how many conversations had taught the playbook that they met; None if it is not recorded."""
    if metrics.playbook is not None:
        return metrics.playbook.taught_by
    started_empty = metrics.loop is None or not metrics.loop.entries_at_start
    return 0 if started_empty else None


def samples_of(runs: Iterable[RunFigures]) -> dict[Sample, str]:
    """Return the samples of runs, oldest first, each with a letter: A is that of the newest run."""
    found = list(dict.fromkeys(run.sample for run in reversed(list(runs))))
    return {sample: letters(number) for number, sample in enumerate(found)}


def letters(number: int) -> str:
    """Return the letters of a number: A for 0, B for 1, AA for 26."""
    found = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        found = f"{chr(ord('A') + rest)}{found}"
    return found
