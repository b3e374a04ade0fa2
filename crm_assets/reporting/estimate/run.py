"""The estimate of a run that is about to begin, or to go on, and whether it needs a consent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.run_plan import load_run
from crm_assets.atlas.tasks import read_tasks
from crm_assets.conversations import Conversation, load_conversations
from crm_assets.conversations.split import Subset
from crm_assets.database import read_environment
from crm_assets.engine import FIRST_EPOCH, finished_sessions, session_key
from crm_assets.errors import InputError
from crm_assets.records.estimate import CostEstimate
from crm_assets.reporting.estimate.estimate import estimate_cost, total_of
from crm_assets.reporting.estimate.evidence import find_evidence
from crm_assets.reporting.estimate.wording import describe_amount, describe_estimate
from crm_assets.reporting.formats import dollars
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.project import Project

__all__ = ["RunEstimate", "estimate_run", "sum_estimates"]


@dataclass(frozen=True)
class RunEstimate:
    """The expected cost of one run or several, and the amount above which somebody has to agree."""

    cost: CostEstimate
    has_budget: bool
    """Every run stops at a budget of its own."""
    confirm_above_usd: float
    """The configuration's limit."""

    @property
    def needs_consent(self) -> bool:
        """Return True if the run may cost more than the limit, and no budget stops it."""
        high = self.cost.usd_high
        return not self.has_budget and high is not None and high > self.confirm_above_usd

    @property
    def summary(self) -> str:
        """Return the estimate in a few sentences."""
        return describe_estimate(self.cost)

    @property
    def amount(self) -> str:
        """Return the estimate in a few characters."""
        return describe_amount(self.cost)

    def refusal(self) -> InputError:
        """Return the error of a run that nobody agreed to."""
        return InputError(
            f"This may cost {dollars(self.cost.usd_high)}, more than {dollars(self.confirm_above_usd)} "
            "(confirm_above_usd), and has no budget: set one (--budget-usd; in the launchpad budget_usd), "
            "or accept the cost (--yes; in the launchpad accept_cost)."
        )


def estimate_run(
    project: Project,
    dataset: str,
    plan: SessionPlan,
    *,
    files: RunFiles | None = None,
    tasks: Path | None = None,
    limit: int | None = None,
    subset: Subset | None = None,
) -> RunEstimate | None:
    """Return what a run will cost, or what is left of it; None if nothing is to be paid.

    Args:
        project: where earlier runs are.
        dataset: the run's.
        plan: of its sessions.
        files: of a run that may have begun: sessions that are done are not counted. Calls of sessions that
            were interrupted are, though they need not be paid for again.
        tasks: the tasks to run; left out, those in `files` if sessions have begun, else the dataset's.
        limit: only the first so many of them.
        subset: the part of the dataset to run; its split has the limit.

    Raises:
        InputError: the configuration, the tasks or the dataset cannot be used.
    """
    if not plan.asks_models or plan.replay is not None:
        return None
    run = load_run(plan, project, dataset)
    done: set[str] = set()
    for path in (files.partial, files.sessions) if files else ():
        if path.exists():
            done |= finished_sessions(path)
            tasks, limit = tasks or (files.tasks if files else None), None
    if tasks is None:
        work = _of_dataset(require_dataset(project, dataset), plan, limit, subset)
    else:
        work = _of_tasks(tasks, plan, limit, done)
    cost = estimate_cost(run, work, find_evidence(project, dataset, run), read_environment(project))
    if cost is None or not cost.sessions:
        return None
    return RunEstimate(cost, plan.has_budget, run.config.config.confirm_above_usd)


def sum_estimates(estimates: Sequence[RunEstimate | None]) -> RunEstimate | None:
    """Return what several runs will cost together; None if nothing is to be paid."""
    paid = [each for each in estimates if each is not None]
    cost = total_of([each.cost for each in paid])
    if cost is None:
        return None
    return RunEstimate(
        cost, all(each.has_budget for each in paid), min(each.confirm_above_usd for each in paid)
    )


def _of_dataset(
    path: Path, plan: SessionPlan, limit: int | None, subset: Subset | None
) -> Iterator[tuple[Conversation, int]]:
    conversations = load_conversations(path)
    chosen = islice(conversations, limit) if subset is None else subset.of(conversations)
    return ((conversation, plan.epochs) for conversation in chosen)


def _of_tasks(
    path: Path, plan: SessionPlan, limit: int | None, done: set[str]
) -> Iterator[tuple[Conversation, int]]:
    for task in islice(read_tasks(path), limit):
        keys = (session_key(task.task_id, epoch) for epoch in range(FIRST_EPOCH, FIRST_EPOCH + plan.epochs))
        if left := sum(key not in done for key in keys):
            yield task.conversation, left
