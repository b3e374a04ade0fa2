"""What one conversation is to a comparison, and which strict success is compared."""

from __future__ import annotations

import io

from rich.console import Console

from crm_assets.reporting.comparison import Comparison, compare_baselines, comparison_blocks, headline
from crm_assets.reporting.terminal import show
from crm_assets.workspace.baseline_files import BaselinePaths

from ..conftest import Record
from .conftest import RUN_A, RUN_B, Baseline, verdict


def copies(success: bool, content: str, count: int) -> list[Record]:
    """Sessions of one content under several IDs."""
    records = [verdict(f"{content}-{number}", success) for number in range(count)]
    for record in records:
        record["conversation_result"]["work_hash"] = content * 64
    return records


def newer(record: Record, *, turns_right: bool, floor: bool = False) -> Record:
    """A session whose strict success asks for the end state, too."""
    record["conversation_result"] |= {
        "schema_version": 2,
        "turns_right": turns_right,
        "noop_state_match": floor,
    }
    return record


def compare(a: BaselinePaths, b: BaselinePaths) -> Comparison:
    return compare_baselines(a, b, resamples=300)


def printed(comparison: Comparison) -> str:
    terminal = io.StringIO()
    show(*comparison_blocks(comparison), console=Console(width=100, file=terminal))
    return terminal.getvalue()


def test_copies_of_a_conversation_are_one_pair(baseline: Baseline) -> None:
    a = baseline(RUN_A, [*copies(False, "a", 6), *copies(False, "b", 6)])
    b = baseline(RUN_B, [*copies(True, "a", 6), *copies(False, "b", 6)])
    found = compare(a, b)
    strict = found.by("strict_success").paired
    assert (found.conversations, found.copies) == (2, 10)
    assert (strict.conversations, strict.better, strict.worse) == (2, 1, 0)
    assert strict.p_value == 1.0  # twelve pairs would say 0.03
    assert len(found.flips) == 1
    assert all(each.paired.conversations == 2 for each in found.slices)
    assert any(note.startswith("Copies of another conversation") and "10" in note for note in found.notes)


def test_the_content_of_either_run_tells_copies(baseline: Baseline) -> None:
    old = [verdict(f"a-{number}", False) for number in range(3)]
    found = compare(baseline(RUN_A, old), baseline(RUN_B, copies(True, "a", 3)))
    assert (found.conversations, found.copies) == (1, 2)


def test_two_formulas_are_not_compared_and_turns_are(baseline: Baseline) -> None:
    """B has every turn right and the state wrong: no difference in turns, none at all in strict success."""
    a = baseline(RUN_A, [verdict(f"c-{n}", True) for n in range(8)])
    wrong_state = [newer(verdict(f"c-{n}", True), turns_right=True) for n in range(8)]
    for record in wrong_state:
        record["conversation_result"] |= {"overall_success": False, "state_match": False}
    found = compare(a, baseline(RUN_B, wrong_state))
    assert found.main_measure == "turns_right"
    assert found.by("strict_success").paired.conversations == 0
    assert found.by("turns_right").paired.difference == 0
    assert {flip.strict_success for flip in found.flips} == {None}
    assert any(note.startswith("The runs define strict success differently") for note in found.notes)
    assert "every turn correct" in headline(found)
    again = compare(baseline(RUN_A, wrong_state), baseline(RUN_B, wrong_state))
    assert (again.main_measure, again.by("strict_success").paired.mean_a) == ("strict_success", 0.0)
    assert "Every turn correct" in printed(again)


def test_the_floor_is_over_the_compared_conversations(baseline: Baseline) -> None:
    a = [newer(verdict(f"c-{n}", True), turns_right=True, floor=n < 2) for n in range(5)]
    found = compare(baseline(RUN_A, a), baseline(RUN_B, [verdict(f"c-{n}", True) for n in range(4)]))
    floor = found.state_match_floor
    assert floor is not None
    assert (floor.successes, floor.count) == (2, 4)
    assert "floor 2 of 4" in printed(found)
    old = [verdict("c-1", True)]
    assert compare(baseline(RUN_A, old), baseline(RUN_B, old)).state_match_floor is None


def test_too_few_to_tell_is_said(baseline: Baseline) -> None:
    two = [verdict(f"c-{n}", n == 1) for n in range(2)]
    found = compare(baseline(RUN_A, two), baseline(RUN_B, two))
    assert "2 conversations are too few to tell" in headline(found)
    assert "n too small" in " ".join(printed(found).split())
