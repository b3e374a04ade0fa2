"""Two baselines of a dataset, compared conversation by conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from crm_assets.errors import InputError
from crm_assets.reporting.comparison.flips import find_flips
from crm_assets.reporting.comparison.models import (
    MEASURES,
    Comparison,
    RunOutcome,
    RunSide,
    SliceComparison,
)
from crm_assets.reporting.comparison.notes import notes_on
from crm_assets.reporting.comparison.paired import DEFAULT_RESAMPLES, compare_measure, significant_digits
from crm_assets.reporting.comparison.provenance import compare_facts
from crm_assets.reporting.comparison.runs import RunConversation, RunOutcomes, read_run
from crm_assets.reporting.comparison.significance import holm
from crm_assets.reporting.figures import Rate
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["compare_baselines"]

_SHOWN = 12  # digits of a hash
_ONE_SAMPLE = (
    ", so they are one sample: a difference is one of code, settings or data, and chance has no part in it."
)
Pairs = Sequence[tuple[RunOutcome, RunOutcome]]


Content = tuple[str, ...]
"""One conversation, as the IDs of its copies; most have one."""


class _Aligned(NamedTuple):
    """The compared conversations, and how many are left out."""

    ids: Sequence[str]
    only_in_a: int
    only_in_b: int
    changed: int
    intersection: bool


def compare_baselines(
    a: BaselinePaths,
    b: BaselinePaths,
    *,
    intersection: bool = False,
    seed: int = 0,
    resamples: int = DEFAULT_RESAMPLES,
) -> Comparison:
    """Compare run `b` with run `a`: every difference is B − A.

    Args:
        a: the reference run; finished.
        b: the compared run; finished.
        intersection: if the dataset changed, compare the conversations that did not.
        seed: of all resampling.
        resamples: of an interval, and of a p-value that is not exact.

    Raises:
        InputError: a run cannot be read, the dataset changed between them and `intersection` is not
            given, or the runs share no conversation.
    """
    run_a, run_b = read_run(a), read_run(b)
    aligned = _align(a, b, run_a, run_b, intersection=intersection)
    contents = _contents(run_a, run_b, aligned.ids)
    pairs = _pairs(run_a, run_b, contents)
    measures = tuple(
        compare_measure(pairs, measure, seed=seed, resamples=resamples) for measure in MEASURES
    )
    found = Comparison(
        dataset=a.key.dataset,
        a=run_a.side,
        b=run_b.side,
        seed=seed,
        resamples=resamples,
        intersection=aligned.intersection,
        repetition=_repetition(a.key.dataset, run_a.side, run_b.side),
        conversations=len(contents),
        copies=len(aligned.ids) - len(contents),
        state_match_floor=_floor(pairs),
        only_in_a=aligned.only_in_a,
        only_in_b=aligned.only_in_b,
        changed=aligned.changed,
        provenance=compare_facts(run_a.facts, run_b.facts),
        notes=(),
        measures=measures,
        slices=tuple(_slices(run_a, run_b, aligned.ids, seed=seed, resamples=resamples)),
        flips=(),
    )
    flips = find_flips(run_a, run_b, contents, found.main_measure)
    return found.model_copy(update={"notes": notes_on(found), "flips": flips})


def _align(
    a: BaselinePaths, b: BaselinePaths, run_a: RunOutcomes, run_b: RunOutcomes, *, intersection: bool
) -> _Aligned:
    """Return the IDs of the conversations to compare, sorted."""
    same_dataset = _same_dataset(run_a, run_b)
    if not same_dataset and not intersection:
        raise InputError(_refusal(run_a, run_b))
    common = run_a.conversations.keys() & run_b.conversations.keys()
    kept = common if same_dataset else common & _unchanged(a, b)
    if not kept:
        raise InputError(
            f"Runs {a.key.run} and {b.key.run} share no unchanged conversation, so there is nothing to "
            "compare; choose two runs of the same conversations."
        )
    return _Aligned(
        ids=sorted(kept),
        only_in_a=len(run_a.conversations.keys() - common),
        only_in_b=len(run_b.conversations.keys() - common),
        changed=len(common) - len(kept),
        intersection=not same_dataset,
    )


def _same_dataset(a: RunOutcomes, b: RunOutcomes) -> bool:
    revision = a.side.dataset_revision
    return revision is not None and revision == b.side.dataset_revision


def _refusal(a: RunOutcomes, b: RunOutcomes) -> str:
    remedy = (
        "compare runs of one revision, or add --intersection to compare only the conversations that did "
        "not change"
    )
    silent = [each.side.run for each in (a, b) if each.side.dataset_revision is None]
    if silent:
        return f"Run {silent[0]} does not record the dataset revision it ran on; {remedy}."
    revisions = " and ".join(f"{str(each.side.dataset_revision)[:_SHOWN]}…" for each in (a, b))
    return f"The dataset changed between runs {a.side.run} and {b.side.run} ({revisions}); {remedy}."


def _unchanged(a: BaselinePaths, b: BaselinePaths) -> set[str]:
    """Return the conversations whose content is the same in the tasks of both runs."""
    hashes_a, hashes_b = _content_hashes(a), _content_hashes(b)
    return {name for name, content in hashes_a.items() if hashes_b.get(name) == content}


def _content_hashes(paths: BaselinePaths) -> dict[str, str]:
    # The runtime comes along with it; a comparison within one revision reads result files alone.
    from crm_assets.atlas.tasks import read_tasks  # noqa: PLC0415

    return {
        task.conversation.conversation_id: task.conversation.content_hash
        for task in read_tasks(paths.tasks)
    }


def _contents(a: RunOutcomes, b: RunOutcomes, ids: Iterable[str]) -> list[Content]:
    """Return the conversations among `ids`, copies of one content together."""
    copies: dict[str, list[str]] = {}
    for name in ids:
        work_hash = a.conversations[name].work_hash or b.conversations[name].work_hash
        copies.setdefault(work_hash or name, []).append(name)
    return [tuple(names) for names in copies.values()]


def _pairs(a: RunOutcomes, b: RunOutcomes, contents: Iterable[Content]) -> Pairs:
    pairs = [(a.outcome(copies), b.outcome(copies)) for copies in contents]
    if a.side.strict_success_formula == b.side.strict_success_formula:
        return pairs
    # Two formulas: each run's own is not compared with the other's.
    return [
        (replace(one, strict_success=None), replace(other, strict_success=None)) for one, other in pairs
    ]


def _floor(pairs: Pairs) -> Rate | None:
    """Return the state match of an agent that calls nothing, where a run records it."""
    either = (b.noop_state_match if a.noop_state_match is None else a.noop_state_match for a, b in pairs)
    known = [each for each in either if each is not None]
    return Rate.of_conversations(sum(known), len(known)) if known else None


def _slices(
    a: RunOutcomes, b: RunOutcomes, ids: Sequence[str], *, seed: int, resamples: int
) -> list[SliceComparison]:
    """Compare by workflow and complexity; p-values are adjusted over all slices of a measure."""
    slices = [
        (by, name, _pairs(a, b, _contents(a, b, members)))
        for by, name, members in _parts(a.conversations, ids)
    ]
    compared = []
    for measure in MEASURES:
        parts = [
            (by, name, compare_measure(pairs, measure, seed=seed, resamples=resamples))
            for by, name, pairs in slices
        ]
        if not any(part.paired.conversations for _, _, part in parts):
            continue  # a measure that these runs do not have
        p_values = [part.paired.p_value for _, _, part in parts]
        adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
        for by, name, part in parts:
            p_value = None if part.paired.p_value is None else significant_digits(next(adjusted))
            compared.append(SliceComparison(**dict(part), by=by, name=name, adjusted_p_value=p_value))
    return compared


def _parts(
    conversations: Mapping[str, RunConversation], ids: Sequence[str]
) -> list[tuple[Literal["workflow", "complexity"], str, list[str]]]:
    kinds: tuple[Literal["workflow", "complexity"], ...] = ("workflow", "complexity")
    parts = []
    for by in kinds:
        members: dict[str, list[str]] = {}
        for name in ids:
            members.setdefault(getattr(conversations[name], by), []).append(name)
        parts += [(by, label, members[label]) for label in sorted(members)]
    return parts


def _repetition(dataset: str, a: RunSide, b: RunSide) -> str | None:
    """Return why the runs are one sample; None if they are two."""
    names = {side.run: f"{dataset}|{side.run}" for side in (a, b)}
    if a.run == b.run:
        return None
    for name, side, other, there in (("B", b, "A", a), ("A", a, "B", b)):
        if side.origin is not None and side.origin.sample == names[there.run]:
            what = {
                "replay": "is a replay of",
                "rescored": "repeats the calls of",
                "import": "is a copy of",
            }
            return f"{name} {what[side.origin.kind]} {other}{_ONE_SAMPLE}"
    if a.origin is not None and b.origin is not None and a.origin.sample == b.origin.sample:
        return f"A and B repeat the same results ({a.origin.label}){_ONE_SAMPLE}"
    return None
