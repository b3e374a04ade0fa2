"""The real conversations and recorded runs; skipped where their folder is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_assets.conversations import load_conversations
from crm_assets.crm import SandboxPool
from crm_assets.database import Databases
from crm_assets.engine import run_harness
from crm_assets.harness import AgentSpec, GroundTruth, GroundTruthStore, canonical_state

from .build import read_lines

DATASETS = ["clbench_eval", "clbench_chains_failures", "clbench_chains_clean", "clbench_chains_enriched"]


@pytest.mark.parametrize("name", DATASETS)
def test_every_turn_of_the_ground_truth_is_right_and_every_state_matches(
    corpus: Path, databases: Databases, tmp_path: Path, name: str
):
    output = tmp_path / "out.jsonl"
    dataset = corpus / f"{name}.jsonl"
    summary = run_harness(dataset, output, databases=databases, agent=AgentSpec("replay"))
    assert summary.succeeded == summary.total == sum(1 for _ in load_conversations(dataset))
    assert summary.sandboxes_discarded == 0
    for line in read_lines(output):
        about = line["conversation_id"]
        assert all(turn["tool_success"] and turn["success"] for turn in line["per_turn_results"]), about
        assert (line["state_match"], line["state_diff"]) == (True, {}), about
        assert "ground_truth_problems" not in line["metadata"], about
        assert (line["reward_signal"], line["failed_at_turn"]) == (1.0, None), about
        assert line["chain_success"] is not False, about


@pytest.mark.parametrize("name", DATASETS)
def test_doing_nothing_scores_nothing_and_matches_no_state_that_should_have_changed(
    corpus: Path, databases: Databases, tmp_path: Path, name: str
):
    output = tmp_path / "out.jsonl"
    dataset = corpus / f"{name}.jsonl"
    run_harness(dataset, output, databases=databases, agent=AgentSpec("noop"))
    lines = read_lines(output)
    assert not any(
        turn["success"] or turn["tool_success"] for line in lines for turn in line["per_turn_results"]
    )
    assert {line["reward_signal"] for line in lines} == {0.0}
    matched = {line["conversation_id"]: line["state_match"] for line in lines}
    unchanged = _state_unchanged(dataset, databases.sandbox)
    assert matched == unchanged
    assert not all(unchanged.values())


def _state_unchanged(dataset: Path, conninfo: str) -> dict[str, bool]:
    """For each conversation, whether its ground truth ends where its seeds begin."""
    conversations = list(load_conversations(dataset))
    with SandboxPool(conninfo) as pool:
        store = GroundTruthStore(conninfo, pool)
        truths = store.get_many(conversations)
        store.close()
        unchanged = {}
        for conversation, truth in zip(conversations, truths, strict=True):
            assert isinstance(truth, GroundTruth)
            seeds = {value for rows in truth.seeds.values() for row in rows for value in row.values()
                     if isinstance(value, str)}  # fmt: skip
            with pool.lease() as sandbox, sandbox.begin(truth.seeds) as session:
                start = canonical_state(session.rows(), seeds)
            unchanged[conversation.conversation_id] = start == truth.end_state
    return unchanged


def test_the_recorded_claude_run_gets_a_verdict_for_every_turn_that_was_run(
    corpus: Path, databases: Databases, tmp_path: Path
):
    output = tmp_path / "out.jsonl"
    past = corpus / "clbench_recorded_claude.jsonl"
    summary = run_harness(
        corpus / "clbench_chains_enriched.jsonl",
        output,
        databases=databases,
        agent=AgentSpec("recorded", past),
    )
    assert (summary.total, summary.not_recorded, summary.infrastructure_errors) == (56, 24, 0)
    recorded = {line["conversation_id"]: line["per_turn_results"] for line in read_lines(past)}
    judged = 0
    for line in read_lines(output):
        turns = recorded[line["conversation_id"]]
        if line["status"] == "not_recorded":
            # The harness of that time could not start these at all.
            assert [turn["verification"] for turn in turns] == ["pre_execution_error"]
            assert line["overall_success"] is line["reward_signal"] is line["state_match"] is None
            continue
        assert line["state_match"] in (True, False)
        assert [turn["turn_id"] for turn in line["per_turn_results"]] == [turn["turn_id"] for turn in turns]
        for here, then in zip(line["per_turn_results"], turns, strict=True):
            assert here["tool_name"] == then["tool_name"]
            assert here["verification"] != "no_tool_call"
            assert here["success"] in (True, False)
            judged += 1
    assert judged == 201
    agent = read_lines(output)[0]["metadata"]["agent"]
    assert agent["model"] == "claude-sonnet-4-5-20250929"


def test_the_recorded_gpt_run_gets_verdicts_where_its_conversations_are_known(
    corpus: Path, databases: Databases, tmp_path: Path
):
    past = corpus / "clbench_recorded_gpt41.jsonl"
    recorded = {line["conversation_id"]: line for line in read_lines(past)}
    # Four of the five conversations are of a dataset that nobody has.
    known = [
        line
        for line in (corpus / "clbench_eval.jsonl").read_bytes().splitlines(keepends=True)
        if any(f'"{identifier}"'.encode() in line for identifier in recorded)
    ]
    dataset = tmp_path / "known.jsonl"
    dataset.write_bytes(b"".join(known))
    output = tmp_path / "out.jsonl"
    run_harness(dataset, output, databases=databases, agent=AgentSpec("recorded", past))
    [line] = read_lines(output)
    then = recorded[line["conversation_id"]]["per_turn_results"]
    assert (line["status"], line["turns_executed"]) == ("completed", len(then))
    assert [turn["arguments"] for turn in line["per_turn_results"]] == [turn["arguments"] for turn in then]
    assert [turn["agent_response_text"] for turn in line["per_turn_results"]] == [
        turn["agent_response_text"] for turn in then
    ]
    assert any(turn["tool_success"] for turn in line["per_turn_results"])
