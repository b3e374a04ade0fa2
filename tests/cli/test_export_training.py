"""`crm-assets export training`: real runs, read by Hugging Face `datasets` and by the Atlas SDK."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from crm_assets.conversations import load_conversations
from crm_assets.conversations.split import Split, split_conversations
from crm_assets.generator import write_dataset
from crm_assets.records import SessionLog
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import write_json
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.atlas.sdk.environment import sdk_folder
from tests.waiting import HANG_SECONDS

from .conftest import KEY, Finish, Run

REPLAY = "20260201T000000Z"
ALL = ("--split", "1", "--review", "any")

# What the SDK reads of every session: in one process, since importing it takes seconds.
READ = """
import json, sys
from atlas.training_data import get_training_sessions

found = []
for trace in get_training_sessions(sys.argv[1], status_filters=["succeeded"]):
    trace = trace.to_dict()
    metadata = trace["session_metadata"]
    found.append({
        "conversation": metadata["conversation_id"], "epoch": metadata["epoch"],
        "run_id": metadata["run_id"], "answer": trace["final_answer"],
        "reward": (trace["session_reward"] or {}).get("score"),
        "users": [step["description"] for step in trace["steps"]],
        "replies": [step["output"] for step in trace["steps"]],
        "calls": [[step["tool"], step["tool_params"]] for step in trace["steps"]],
    })
print(json.dumps(found))
"""


def _datasets() -> Any:  # imported by the worker that runs these tests alone: it takes seconds
    pytest.importorskip("pyarrow")
    return pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `datasets` caches out of the user's folder, and it off the network."""
    monkeypatch.setattr(_datasets().config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(_datasets().config, "HF_HUB_OFFLINE", True)


def paths(project: Project, run: str = KEY) -> BaselinePaths:
    return BaselinePaths.of(project, BaselineKey.of("small", run))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data" / "train.jsonl").read_text().splitlines()]


def load(folder: Path) -> Any:
    return _datasets().load_dataset(str(folder), split="train")


def bare(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the keys of messages that are null: Parquet has all keys in every message."""
    return {
        name: [{key: part for key, part in each.items() if part is not None} for each in value]
        if name in ("messages", "prompt", "completion", "chosen", "rejected")
        else value
        for name, value in row.items()
    }


def header(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    return found


def test_chats_are_loaded_as_they_were_written(run: Run, finish: Finish, project: Project) -> None:
    finish("atlas")
    folder = project.root / "small-chat"
    result = run("export", "training", "small", *ALL)
    assert result.exit_code == 0, result.output
    rows, loaded = lines(folder), load(folder)
    assert result.stdout == f"{len(rows)} rows: small-chat\n"
    assert [bare(row) for row in loaded] == rows
    again = _datasets().load_dataset("json", data_files=str(folder / "data" / "train.jsonl"), split="train")
    assert [row["conversation_id"] for row in again] == [row["conversation_id"] for row in rows]
    assert [bare(row)["messages"] for row in again] == [row["messages"] for row in rows]

    sessions = {each.conversation_id: each for each in SessionLog(paths(project).sessions).records()}
    assert {row["conversation_id"] for row in rows} == {
        name for name, each in sessions.items() if each.conversation_result.overall_success
    }
    assert len(rows) < len(sessions)
    for row in rows:
        session = sessions[row["conversation_id"]]
        assert row["messages"][0]["role"] == "system" and "CRM assistant" in row["messages"][0]["content"]
        users = [message["content"] for message in row["messages"] if message["role"] == "user"]
        turns = session.conversation_result.per_turn_results
        assert users == [turn.user_utterance for turn in turns]
        calls = [
            (call["function"]["name"], call["function"]["arguments"])
            for message in row["messages"]
            for call in message.get("tool_calls", ())
        ]
        assert calls == [(turn.tool_name, turn.arguments) for turn in turns if turn.tool_name]
        told = [message for message in row["messages"] if message["role"] == "tool"]
        assert all(json.loads(message["content"]).keys() <= {"result", "error"} for message in told)
        reward = session.atlas_metadata.session_reward
        assert (row["run"], row["reward"]) == (KEY, reward.score if reward else None)
        assert len(row["tools"]) == 28 and row["tools"][0]["type"] == "function"


def test_the_card_says_what_is_in_it(run: Run, finish: Finish, project: Project) -> None:
    finish("atlas")
    assert run("export", "training", "small", *ALL, "-o", "one").exit_code == 0
    text = (project.root / "one" / "README.md").read_text()
    assert "| License " in text and "| not stated" in text and "license" not in header(project.root / "one")
    assert f"| `{KEY}` | crm-student | `offline/student` |" in text
    rows = lines(project.root / "one")
    tokens = sum(row["completion_tokens"] for row in rows)
    assert f"| {tokens:,} " in text
    project.dataset_file("small").with_suffix(".md").write_text("---\nlicense: cc-by-4.0\n---\n# Mine\n")
    assert run("export", "training", "small", *ALL, "-o", "two").exit_code == 0
    assert header(project.root / "two")["license"] == "cc-by-4.0"
    assert "| cc-by-4.0 " in (project.root / "two" / "README.md").read_text()


def test_attempts_of_a_conversation_are_paired(run: Run, finish: Finish, project: Project) -> None:
    finish("atlas")
    made = run("baseline", "--dataset", "small", "--run", REPLAY, "--agent", "replay")
    assert made.exit_code == 0, made.output
    result = run("export", "training", "small", KEY, REPLAY, "--format", "preference", *ALL)
    assert result.exit_code == 0, result.output
    rows = lines(project.root / "small-preference")
    assert [bare(row) for row in load(project.root / "small-preference")] == rows
    failed = {
        each.conversation_id
        for each in SessionLog(paths(project).sessions).records()
        if not each.conversation_result.overall_success
    }
    assert {row["conversation_id"] for row in rows} == failed and failed
    for row in rows:
        assert (row["chosen_run"], row["rejected_run"]) == (REPLAY, KEY)
        assert (row["chosen_strict_success"], row["rejected_strict_success"]) == (True, False)
        assert row["prompt"][-1]["role"] == "user"
        assert row["chosen"][0]["role"] == row["rejected"][0]["role"] == "assistant"
        assert row["chosen"] != row["rejected"]


def test_sessions_come_with_their_rewards(run: Run, finish: Finish, project: Project) -> None:
    finish("atlas")
    assert run("export", "training", "small", "--format", "rewards", *ALL).exit_code == 0
    folder = project.root / "small-rewards"
    rows = lines(folder)
    assert [bare(row) for row in load(folder)] == rows
    sessions = {each.conversation_id: each for each in SessionLog(paths(project).sessions).records()}
    assert {row["conversation_id"] for row in rows} == set(sessions)
    for row in rows:
        result = sessions[row["conversation_id"]].conversation_result
        assert row["label"] is result.overall_success
        assert row["turn_rewards"] == [float(turn.success or 0) for turn in result.per_turn_results]
        users = [m for m in (*row["prompt"], *row["completion"]) if m["role"] == "user"]
        assert len(row["turn_rewards"]) == len(users)
        assert row["prompt"][-1]["role"] == "user" and row["completion"][0]["role"] == "assistant"


def test_held_out_conversations_are_never_exported(run: Run, project: Project) -> None:
    file = project.dataset_file("small")
    write_dataset(file, 40, seed=11)
    for key, agent in ((KEY, "replay"), (REPLAY, "noop")):
        assert run("baseline", "--dataset", "small", "--run", key, "--agent", agent).exit_code == 0
    parts = split_conversations(load_conversations(file), Split(share=0.5, seed=3))
    named = ("export", "training", "small", KEY)
    result = run(*named, "--seed", 3)
    assert result.exit_code == 0, result.output
    held_out = Counter(parts.values())["held-out"]
    assert f"{held_out} conversations are held out and not exported." in result.stderr
    rows = lines(project.root / "small-chat")
    assert {row["conversation_id"] for row in rows} == {n for n, part in parts.items() if part == "teach"}
    assert {row["split"] for row in rows} == {"teach"}

    # A study of the dataset holds conversations out whatever split is asked for.
    studied = json.loads(paths(project, REPLAY).run.read_bytes())
    studied["subset"] = {"part": "held-out", "split": {"share": 0.5, "seed": 3, "limit": None}}
    write_json(paths(project, REPLAY).run, studied)
    assert run(*named, "--split", 1, "-o", "all").exit_code == 0
    exported = {row["conversation_id"] for row in lines(project.root / "all")}
    assert exported == {name for name in sessions_of(project) if parts.get(name) != "held-out"}
    refused = run("export", "training", "small", REPLAY, "-o", "never")
    assert refused.exit_code == 2 and "ran conversations that a study holds out" in refused.stderr
    assert not (project.root / "never").exists()


def sessions_of(project: Project) -> set[str]:
    return {each.conversation_id for each in SessionLog(paths(project).sessions).records()}


def test_what_cannot_be_exported_is_told_in_a_sentence_and_leaves_nothing(
    run: Run, finish: Finish, project: Project
) -> None:
    finish("replay")
    unnamed = run("export", "training", "small", *ALL)
    assert unnamed.exit_code == 2
    assert f"There is no run to export: Run {KEY} is of an agent without a model." in unnamed.stderr
    assert run("export", "training", "small", KEY, *ALL, "-o", "once").exit_code == 0
    assert "exists already" in run("export", "training", "small", KEY, *ALL, "-o", "once").stderr
    write_dataset(project.dataset_file("small"), 8, seed=12)
    changed = run("export", "training", "small", KEY, *ALL, "-o", "changed")
    assert changed.exit_code == 2 and "is of another revision of the dataset" in changed.stderr
    assert sorted(entry.name for entry in project.root.iterdir() if entry.name.startswith(".once")) == []
    assert not (project.root / "changed").exists()


def test_only_approved_sessions_are_exported(run: Run, finish: Finish, project: Project) -> None:
    finish("atlas")
    listed = json.loads(run("review", "list", "--dataset", "small", "--status", "all", "--json").stdout)
    rejected = listed[0]
    assert run("review", "reject", rejected["id"]).exit_code == 0
    rewards = ("export", "training", "small", "--format", "rewards", "--split", 1)
    assert run(*rewards, "-o", "approved").exit_code == 0
    statuses = {row["conversation_id"]: row["review_status"] for row in lines(project.root / "approved")}
    assert rejected["conversation_id"] not in statuses and set(statuses.values()) == {"approved"}
    assert run(*rewards, "--review", "any", "-o", "any").exit_code == 0
    statuses = {row["conversation_id"]: row["review_status"] for row in lines(project.root / "any")}
    assert statuses[rejected["conversation_id"]] == "quarantined"


@pytest.mark.whole
def test_the_sdk_reads_the_same_sessions(run: Run, finish: Finish, project: Project) -> None:
    finish("atlas")
    assert run("export", "training", "small", "--format", "rewards", *ALL).exit_code == 0
    rows = lines(project.root / "small-rewards")
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    done = subprocess.run(
        [sdk_folder() / "python", "-c", READ, os.environ["STORAGE__DATABASE_URL"]],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    theirs = {(each["conversation"], each["epoch"]): each for each in json.loads(done.stdout)}
    assert theirs.keys() == {(row["conversation_id"], row["epoch"]) for row in rows}
    for row in rows:
        their = theirs[row["conversation_id"], row["epoch"]]
        messages = [*row["prompt"], *row["completion"]]
        assert their["run_id"] == paths(project).key.run_id
        assert their["reward"] == row["reward"]
        assert their["users"] == [each["content"] for each in messages if each["role"] == "user"]
        said = [each["content"] for each in messages if each["role"] == "assistant" and each["content"]]
        assert [reply for reply in their["replies"] if reply] == said
        assert their["answer"] == said[-1]
        calls = [call["function"] for each in messages for call in each.get("tool_calls", ())]
        assert [call for call in their["calls"] if call[0]] == [
            [call["name"], call["arguments"]] for call in calls
        ]
