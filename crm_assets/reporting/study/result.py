"""The result of a study, from the files of its arms' baselines."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from crm_assets.atlas.run_playbook import read_run_playbook
from crm_assets.atlas.study import ArmRun, StudyPlan
from crm_assets.atlas.tasks import read_tasks
from crm_assets.conversations import load_conversations
from crm_assets.conversations.split import split_conversations
from crm_assets.errors import InputError
from crm_assets.reporting.comparison.paired import Pair, paired_difference
from crm_assets.reporting.comparison.power import conversations_needed
from crm_assets.reporting.comparison.runs import outcomes_of
from crm_assets.reporting.figures import tidy
from crm_assets.reporting.metrics import read_metrics
from crm_assets.reporting.models import Metrics
from crm_assets.reporting.study.models import Arm, ArmFigures, Gain, LearnedEntry, Learning, Study
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.project import Project

__all__ = ["study_result"]

_SHOWN = 40
_POINT = 100  # percentage points in 1

Means = Mapping[str, "float | None"]
"""Strict success by content, over copies and repeats; None without a verdict."""


class _Finished(NamedTuple):
    run: ArmRun
    paths: BaselinePaths
    metrics: Metrics
    outcomes: Mapping[str, float | None]
    """Strict success by conversation."""


def study_result(project: Project, plan: StudyPlan, *, seed: int = 0) -> Study:
    """Compute the result of a study whose runs have all finished.

    Args:
        project: where the baselines are.
        plan: of the study.
        seed: of the intervals' resampling.

    Raises:
        InputError: a run is not finished, or is not what the plan says; or an arm read another playbook
        than its
            own.
    """
    finished = [_read(project, run) for run in plan.runs()]
    _check_playbooks(plan, finished)
    contents = _contents(finished)
    means: dict[tuple[str, str], Means] = {
        (arm, use): _means(
            (each for each in finished if (each.run.arm, each.run.use) == (arm, use)), contents
        )
        for arm in plan.arms
        for use in ("held-out", "seen")
    }

    def gain(arm: str, over: str, on: str) -> Gain:
        return _gain(arm, over, on, a=means[over, on], b=means[arm, on], seed=seed)

    of_learning = gain("on", plan.control, "held-out")
    conversations = list(load_conversations(require_dataset(project, plan.dataset)))
    parts = split_conversations(conversations, plan.split)
    split = conversations[: plan.split.limit]
    return Study(
        plan=plan,
        taught=sum(part == "teach" for part in parts.values()),
        held_out=sum(part == "held-out" for part in parts.values()),
        left_out=len(split) - len(parts),
        copies=len(contents) - len(set(contents.values())),
        arms=tuple(_arm(plan, name, finished, means[name, "held-out"]) for name in plan.arms),
        gain=of_learning,
        seen=gain("on", plan.control, "seen"),
        noise=gain("frozen", "off", "held-out") if {"frozen", "off"} <= set(plan.arms) else None,
        learning=_learning(finished[0], of_learning),
    )


def _read(project: Project, run: ArmRun) -> _Finished:
    paths = BaselinePaths.of(project, run.key)
    if not paths.finished:
        raise InputError(f"Run {run.key.run} of the study is not finished; go on with the study first.")
    metrics = read_metrics(paths.metrics)
    if metrics.subset != run.subset:
        raise InputError(f"Run {run.key.run} did not run {run.subset}; it is no run of this study.")
    outcomes = {each.conversation: each.strict_success for each in outcomes_of(paths)}
    return _Finished(run, paths, metrics, outcomes)


def _check_playbooks(plan: StudyPlan, finished: Sequence[_Finished]) -> None:
    """Refuse a study in which an arm read another playbook than its own, which `on` alone was taught.

    Raises:
        InputError: one did.
    """
    taught = finished[0].metrics.playbook
    for each in finished:
        used, run = each.metrics.playbook, each.run
        if run.plan.learning == "off":
            continue
        if used is None or used.namespace != plan.namespace(run.arm) or taught is None:
            raise InputError(
                f"Run {run.key.run} does not record the playbook of its arm, so nothing follows from it."
            )
        own = taught.version_after if run.arm == "on" and run.use != "teach" else 0
        if used.version != own or (own and used.sha256 != taught.sha256_after):
            raise InputError(
                f"Run {run.key.run} read version {used.version} of playbook {used.namespace}, and its "
                f"arm's is {own}: something else taught it meanwhile; start the study again."
            )


def _contents(finished: Iterable[_Finished]) -> dict[str, str]:
    """Return the content (`work_hash`) of each conversation that ran."""
    return {
        task.conversation.conversation_id: task.conversation.work_hash
        for each in finished
        if each.run.repeat == 1
        for task in read_tasks(each.paths.tasks)
    }


def _means(finished: Iterable[_Finished], contents: Mapping[str, str]) -> Means:
    values: dict[str, list[float]] = defaultdict(list)
    for each in finished:
        for name, value in each.outcomes.items():
            values[contents[name]] += [] if value is None else [value]
    return {content: math.fsum(known) / len(known) if known else None for content, known in values.items()}


def _gain(arm: str, over: str, on: str, *, a: Means, b: Means, seed: int) -> Gain:
    pairs = [
        Pair(content, before, after)
        for content, before in a.items()
        if before is not None and (after := b.get(content)) is not None
    ]
    return Gain(
        arm=arm,
        over=over,
        on="held-out" if on == "held-out" else "seen",
        paired=paired_difference(pairs, seed=seed),
        without_verdict=len({*a, *b}) - len(pairs),
        needed=conversations_needed([pair.b - pair.a for pair in pairs]),
    )


def _arm(plan: StudyPlan, name: str, finished: Sequence[_Finished], held_out: Means) -> Arm:
    runs = [each for each in finished if each.run.arm == name]
    scored = [each.metrics for each in runs if each.run.use == "held-out"]
    known = [value for value in held_out.values() if value is not None]
    return Arm(
        name=name,
        namespace=plan.namespace(runs[0].run.arm),
        runs=tuple(map(_figures, runs)),
        held_out=tidy(math.fsum(known) / len(known)) if known else None,
        tokens_per_conversation=_mean(each.tokens_per_conversation.mean for each in scored),
        cost_usd_per_conversation=_mean(each.cost_usd_per_conversation.mean for each in scored),
    )


def _figures(each: _Finished) -> ArmFigures:
    metrics, used = each.metrics, each.metrics.playbook
    return ArmFigures(
        run=str(each.run.key.run),
        use=each.run.use,
        repeat=each.run.repeat,
        conversations=metrics.total_conversations,
        strict_success=metrics.strict_success.value,
        tokens=metrics.own_tokens,
        cost_usd=metrics.own_cost_usd,
        playbook_entries=used.entries if used else None,
        playbook_sha256=used.sha256 if used else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return tidy(math.fsum(known) / len(known)) if known else None


def _learning(taught: _Finished, gain: Gain) -> Learning:
    after = read_run_playbook(taught.paths).after
    assert after is not None  # the run is finished
    metrics, points = taught.metrics, (gain.paired.difference or 0.0) * _POINT
    entries = [entry for state in after.keys.values() for entry in state.entries]
    return Learning(
        conversations=metrics.total_conversations,
        entries=after.entries,
        version=after.version,
        sha256=after.sha256,
        shown=tuple(
            LearnedEntry(
                id=entry.id,
                audience=entry.audience,
                cue=f"{entry.cue.type} {entry.cue.pattern}",
                imperative=entry.action.imperative,
                tool=entry.action.runtime_handle,
            )
            for entry in entries[:_SHOWN]
        ),
        tokens=metrics.own_tokens,
        cost_usd=metrics.own_cost_usd,
        tokens_per_point=_per_point(metrics.own_tokens, points),
        cost_usd_per_point=_per_point(metrics.own_cost_usd, points),
    )


def _per_point(amount: float | None, points: float) -> float | None:
    return tidy(amount / points) if amount is not None and points > 0 else None
