from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.tasks import write_tasks
from crm_assets.errors import InputError
from crm_assets.reporting.comparison import Comparison, compare_baselines, outcomes_of
from crm_assets.reporting.comparison.models import MEASURES, SliceComparison
from crm_assets.workspace.baseline_files import BaselinePaths

from ..conftest import REVISION, Record, session, turn, unrun
from .conftest import RUN_A, RUN_B, Baseline, of_run, verdict, verdicts


def compare(a: BaselinePaths, b: BaselinePaths, **options: Any) -> Comparison:
    return compare_baselines(a, b, resamples=300, **options)


def rewarded(conversation: str, score: float | None, **changes: Any) -> Record:
    return session(conversation, meta={"session_reward": {"score": score}}, **changes)


def test_runs_are_aligned_by_conversation_whatever_the_order_of_lines(baseline: Baseline) -> None:
    records = verdicts([True] * 5 + [False] * 15)
    a = baseline(RUN_A, records)
    b = baseline(RUN_B, reversed(verdicts([True] * 4 + [False] + [True] * 7 + [False] * 8)))
    found = compare(a, b)
    strict = found.by("strict_success").paired
    assert (found.conversations, strict.better, strict.worse, strict.p_value) == (20, 7, 1, 0.0703125)
    assert strict.difference == 0.3
    assert compare(a, baseline(RUN_B, verdicts([True] * 4 + [False] + [True] * 7 + [False] * 8))) == found


def test_a_run_against_itself_shows_no_difference(baseline: Baseline) -> None:
    records = [rewarded(f"r-{index}", index / 10) for index in range(8)]
    a = baseline(RUN_A, [*verdicts([True, False, None, True]), *records, unrun("c-900")])
    found = compare(a, a)
    for each in (*found.measures, *found.slices):
        if each.paired.conversations:
            figures = each.paired
            assert (figures.difference, figures.low, figures.high, figures.p_value) == (0, 0, 0, 1)
    assert {each.measure for each in found.measures if each.paired.conversations} == set(MEASURES)
    assert (found.flips, found.provenance) == ((), ())
    assert "Both runs are the same run." in found.notes


def test_what_has_no_verdict_is_counted_and_tested_nowhere(baseline: Baseline) -> None:
    a = baseline(RUN_A, [*verdicts([True, None, False]), unrun("c-003"), unrun("c-004", "not_recorded")])
    b = baseline(RUN_B, verdicts([True, True, None, False, True]))
    found = compare(a, b)
    strict = found.by("strict_success")
    assert (strict.without_verdict, strict.without_verdict_a, strict.without_verdict_b) == (4, 3, 1)
    assert (strict.paired.conversations, strict.paired.mean_a, strict.paired.mean_b) == (1, 1.0, 1.0)
    assert found.a.statuses == {"failed": 1, "not_recorded": 1, "succeeded": 3}
    left_out = (
        "Without a verdict on strict success, and not in its figures: 4 conversations (3 in A, 1 in B)."
    )
    assert left_out in found.notes


def test_the_verdict_of_a_session_that_did_not_end_does_not_count(baseline: Baseline) -> None:
    broken = verdict("c-000", True, status="failed")
    found = compare(baseline(RUN_A, [broken]), baseline(RUN_B, verdicts([True])))
    assert all(each.paired.conversations == 0 and each.without_verdict == 1 for each in found.measures)


def test_rewards_of_judges_and_of_the_harness_are_compared_apart(baseline: Baseline) -> None:
    a = baseline(RUN_A, [rewarded("c-1", 0.25), rewarded("c-2", None), rewarded("c-3", 0.5)])
    b = baseline(RUN_B, [rewarded("c-1", 0.75), rewarded("c-2", 0.5), rewarded("c-3", 0.5)])
    found = compare(a, b)
    reward = found.by("reward")
    assert (reward.paired.difference, reward.without_verdict) == (0.25, 1)
    assert (
        found.by("harness_reward").paired.conversations,
        found.by("harness_reward").without_verdict,
    ) == (3, 0)


def test_another_limit_compares_what_both_ran_and_says_so(baseline: Baseline) -> None:
    found = compare(baseline(RUN_A, verdicts([True] * 9)), baseline(RUN_B, verdicts([True] * 4)))
    assert (found.conversations, found.only_in_a, found.only_in_b, found.changed) == (4, 5, 0, 0)
    assert not found.intersection
    assert f"Left out: 5 conversations of run {RUN_A} that run {RUN_B} did not run." in found.notes


def test_runs_without_a_common_conversation_are_refused(baseline: Baseline) -> None:
    a, b = baseline(RUN_A, [verdict("c-1", True)]), baseline(RUN_B, [verdict("c-2", True)])
    with pytest.raises(InputError, match="share no unchanged conversation"):
        compare(a, b)


def test_several_epochs_count_once_by_their_mean(baseline: Baseline) -> None:
    a = baseline(
        RUN_A, [verdict("c-1", each, epoch=n) for n, each in enumerate((True, False, None, False), 1)]
    )
    b = baseline(
        RUN_B, [verdict("c-1", each, epoch=n) for n, each in enumerate((False, True, True, True), 1)]
    )
    found = compare(a, b)
    strict = found.by("strict_success").paired
    assert (found.conversations, strict.conversations, found.a.epochs, found.a.sessions) == (1, 1, 4, 4)
    assert (strict.mean_a, strict.mean_b) == (0.333333, 0.75)
    assert strict.test == "sign_flip_exact"
    assert any("sign-flip test replaces McNemar's" in note for note in found.notes)
    (flip,) = found.flips
    assert (flip.strict_success, flip.epoch_a, flip.epoch_b) == ("gained", 2, 2)


def test_one_epoch_twice_is_refused(baseline: Baseline) -> None:
    a = baseline(RUN_A, [verdict("c-1", True)])
    twice = of_run(RUN_A, verdict("c-1", True)) | {"task_id": "another"}
    a.sessions.write_bytes(a.sessions.read_bytes() + orjson.dumps(twice) + b"\n")
    with pytest.raises(InputError, match=r"line 2: conversation 'c-1' stands twice in epoch 1"):
        compare(a, a)


@pytest.mark.parametrize("field", ["run_id", "dataset_revision"])
def test_sessions_of_two_runs_in_one_file_are_refused(baseline: Baseline, field: str) -> None:
    a = baseline(RUN_A, [verdict("c-1", True)])
    other = of_run(RUN_A, verdict("c-2", True))
    other["atlas_metadata"][field] = "another"
    a.sessions.write_bytes(a.sessions.read_bytes() + orjson.dumps(other) + b"\n")
    with pytest.raises(InputError, match=f"line 2: {field} is 'another'.*one run at a time"):
        compare(a, a)


def test_an_unfinished_run_is_refused(baseline: Baseline) -> None:
    a, b = baseline(RUN_A, verdicts([True])), baseline(RUN_B, verdicts([True]))
    b.sessions.unlink()
    with pytest.raises(InputError, match=f"{RUN_B} has no sessions.jsonl yet"):
        compare(a, b)


def test_slices_are_adjusted_by_holm_over_all_slices_of_a_measure(baseline: Baseline) -> None:
    def run(name: str, sales: list[bool], quotes: list[bool]) -> BaselinePaths:
        # Sales are all simple; quotes half medium.
        records = [verdict(f"s-{n}", v) for n, v in enumerate(sales)]
        records += [verdict(f"q-{n}", v) for n, v in enumerate(quotes)]
        for index, record in enumerate(records):
            is_sale = index < len(sales)
            record["atlas_metadata"] |= {
                "workflow_category": "Sales" if is_sale else "Quotes",
                "complexity_level": "simple" if is_sale or index % 2 else "medium",
            }
        return baseline(name, records)

    a = run(RUN_A, [False] * 10, [True, False] * 4)
    b = run(RUN_B, [True] * 9 + [False], [False] * 3 + [True] * 5)
    slices = [each for each in compare(a, b).slices if each.measure == "strict_success"]
    assert [(each.by, each.name) for each in slices] == [
        ("workflow", "Quotes"),
        ("workflow", "Sales"),
        ("complexity", "medium"),
        ("complexity", "simple"),
    ]
    by_name = {each.name: each for each in slices}
    for name, better, factor in (("simple", 12, 4), ("Sales", 9, 3)):  # smallest p-value first
        p_value = 2 / 2**better
        assert by_name[name].paired.p_value == pytest.approx(p_value, rel=1e-5)
        assert by_name[name].adjusted_p_value == pytest.approx(factor * p_value, rel=1e-5)
    assert [each.paired.conversations for each in slices] == [8, 10, 4, 14]
    assert _sums(slices[:2]) == _sums(slices[2:]) == (18, 12, 2)


def _sums(slices: list[SliceComparison]) -> tuple[int, int, int]:
    paired = [each.paired for each in slices]
    return sum(p.conversations for p in paired), sum(p.better for p in paired), sum(p.worse for p in paired)


def test_few_differing_conversations_are_told(baseline: Baseline) -> None:
    a, b = baseline(RUN_A, verdicts([True] * 9)), baseline(RUN_B, verdicts([True] * 8 + [False]))
    assert any(note.startswith("Only 1 conversation differs on") for note in compare(a, b).notes)


# A changed dataset.

OTHER = "0a" * 32


def document(name: str, says: str = "Find Acme.") -> Record:
    turns = [{"turn_id": 1, "user_utterance": says, "expected_tool": "client_search", "expected_args": {}}]
    return {"conversation_id": name, "turns": turns}


@pytest.fixture
def changed(baseline: Baseline, tmp_path: Path) -> tuple[BaselinePaths, BaselinePaths]:
    """Two runs of a dataset whose c-001 changed between them, and to which c-003 was added."""
    dataset = tmp_path / "dataset.jsonl"
    runs = []
    for run, revision, documents in (
        (RUN_A, REVISION, [document("c-000"), document("c-001"), document("c-002")]),
        (
            RUN_B,
            OTHER,
            [document("c-000"), document("c-001", "Find it."), document("c-002"), document("c-003")],
        ),
    ):
        records = verdicts([True] * len(documents))
        for record in records:
            record["atlas_metadata"]["dataset_revision"] = revision
        runs.append(baseline(run, records))
        dataset.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in documents))
        write_tasks(dataset, runs[-1].tasks, dataset_revision=revision, run_id=run)
    return runs[0], runs[1]


def test_a_changed_dataset_is_refused(changed: tuple[BaselinePaths, BaselinePaths]) -> None:
    with pytest.raises(InputError, match=r"changed between runs .*5e5e5e5e5e5e….*--intersection") as caught:
        compare(*changed)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_an_intersection_compares_what_is_the_same_in_both(
    changed: tuple[BaselinePaths, BaselinePaths],
) -> None:
    found = compare(*changed, intersection=True)
    assert found.intersection
    assert (found.conversations, found.changed, found.only_in_a, found.only_in_b) == (2, 1, 0, 1)
    assert any("Left out: 1 conversation whose content changed" in note for note in found.notes)


def test_an_intersection_of_one_revision_needs_no_tasks(baseline: Baseline) -> None:
    a, b = baseline(RUN_A, verdicts([True])), baseline(RUN_B, verdicts([False]))
    assert compare(a, b, intersection=True).intersection is False


def test_a_run_that_does_not_say_its_revision_is_asked_by_its_revision_file(baseline: Baseline) -> None:
    silent = verdicts([True])
    silent[0]["atlas_metadata"]["dataset_revision"] = None
    a, b = baseline(RUN_A, silent), baseline(RUN_B, verdicts([True]))
    with pytest.raises(InputError, match=f"Run {RUN_A} does not record the dataset revision"):
        compare(a, b)
    with pytest.raises(InputError, match=f"Run {RUN_A} does not record the dataset revision"):
        compare(a, a)  # two that do not say are not known to be the same
    revision = {"dataset": "dev", "path": "dev.jsonl", "sha256": REVISION, "bytes": 1, "conversations": 1}
    a.revision.write_bytes(orjson.dumps(revision))
    assert compare(a, b).a.dataset_revision == REVISION


def test_outcomes_can_be_had_alone(baseline: Baseline) -> None:
    (outcome,) = outcomes_of(
        baseline(RUN_A, [session("c-1", [turn(1), turn(2)], meta={"complexity_level": None})])
    )
    assert (outcome.conversation, outcome.complexity, outcome.sessions) == ("c-1", "(none)", 1)
    assert (outcome.strict_success, outcome.state_match, outcome.reward) == (1.0, 1.0, None)
