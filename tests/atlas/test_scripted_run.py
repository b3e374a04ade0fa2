from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from crm_assets.atlas.scripted_run import run_sessions
from crm_assets.atlas.tasks import write_tasks
from crm_assets.database import Databases, connect_databases
from crm_assets.engine import Limits, Progress, RunSummary
from crm_assets.errors import InputError
from crm_assets.harness import AgentSpec
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.identity import known_project_id
from crm_assets.workspace.project import Project

RUN = "20250102T030405Z-abc123"
ACME = "11111111-1111-4111-8111-111111111111"

Sessions = Callable[..., RunSummary]


def document(number: int, *, seed: str = ACME) -> dict[str, Any]:
    return {
        "conversation_id": f"c-{number:03d}",
        "workflow_category": "Client Management",
        "complexity_level": "medium" if number % 2 else "simple",
        "turns": [
            {
                "turn_id": 1,
                "user_utterance": "Find Acme.",
                "expected_tool": "client_search",
                "expected_args": {"name": "Acme"},
                "expected_response": {"text": "Found Acme."},
            },
            {
                "turn_id": 2,
                "user_utterance": f"Write {number} on it.",
                "expected_tool": "add_note",
                "expected_args": {"entity_type": "Client", "entity_id": ACME, "content": str(number)},
                "expected_response": {"text": f"Noted {number}."},
            },
        ],
        "initial_entities": {"seed_data": {"Client": {seed: {"name": "Acme"}}}},
    }


@pytest.fixture
def project(tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of its own, on the suite's server."""
    parts = psycopg.conninfo.conninfo_to_dict(databases.sandbox)
    for variable, part in (("DB_HOST", "host"), ("DB_PORT", "port"), ("DB_USER", "user")):
        monkeypatch.setenv(variable, str(parts[part]))
    return Project(tmp_path)


@pytest.fixture
def tasks(project: Project) -> Path:
    path = project.baselines / "dev" / "run" / "atlas" / "tasks.jsonl"
    write_some(project, path, [document(number) for number in range(20)])
    return path


def write_some(project: Project, tasks: Path, documents: list[dict[str, Any]]) -> None:
    project.conversations.mkdir(parents=True, exist_ok=True)
    dataset = project.dataset_file("dev")
    dataset.write_bytes(b"".join(orjson.dumps(entry) + b"\n" for entry in documents))
    write_tasks(dataset, tasks, dataset_revision="5e" * 32, run_id=RUN)


@pytest.fixture
def sessions(tasks: Path) -> Path:
    return tasks.with_name("sessions.jsonl")


@pytest.fixture
def run(project: Project, tasks: Path, sessions: Path) -> Sessions:
    """Works off the tasks."""

    def run_here(agent: AgentSpec = AgentSpec("replay"), **options: Any) -> RunSummary:  # noqa: B008
        return run_sessions(
            RunFiles(tasks.parent),
            project=project,
            databases=connect_databases(project),
            dataset="dev",
            agent=agent,
            **options,
        )

    return run_here


@pytest.fixture
def eager_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told after every conversation."""
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)
    monkeypatch.setattr("crm_assets.engine.worker._DELIVER_SECONDS", 0.0)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    return map(orjson.loads, path.read_bytes().splitlines())


def ids(path: Path) -> list[str]:
    return [line["task_id"] for line in lines(path)]


ALL = [f"c-{number:03d}::{RUN}" for number in range(20)]


def test_a_session_has_the_fields_that_readers_rely_on(run: Sessions, sessions: Path, project: Project):
    run()
    first = next(lines(sessions))
    result = first.pop("conversation_result")
    header = orjson.loads(sessions.with_name("run.json").read_bytes())
    software = header["software"]
    assert {"python", "crm-assets", "psycopg", "pydantic", "code", "postgres"} <= set(software)
    assert all(isinstance(version, str) and version for version in software.values())
    assert first == {
        "schema_version": 2,
        "conversation_id": "c-000",
        "task_id": f"c-000::{RUN}",
        "epoch": 1,
        "status": "succeeded",
        "final_payload": {
            "final_answer": "Noted 0.",
            "overall_success": True,
            "reward_signal": 1.0,
            "state_match": True,
        },
        "atlas_metadata": {
            "workflow_category": "Client Management",
            "complexity_level": "simple",
            "execution_mode": "harness",
            "session_reward": None,
            "reward_stats": None,
            "token_usage": {},
            "cost_usd": {},
            "imported": None,
            "replay_of": None,
        },
    }
    assert {name: value for name, value in header.items() if name not in ("software", "code")} == {
        "schema_version": 2,
        "run_id": RUN,
        "dataset": "dev",
        "dataset_revision": "5e" * 32,
        "tasks_sha256": sha256_of_file(sessions.with_name("tasks.jsonl")),
        "agent": {"name": "replay"},
        "settings": None,
        "answered_by": {},
        "estimate": None,
        "backend": "postgres",
        "use_llm_judge": False,
        "config_path": None,
        "conversations_path": "data/conversations/dev.jsonl",
        "tasks_path": "artifacts/baselines/dev/run/atlas/tasks.jsonl",
        "imported": None,
        "playbook": None,
        "project": known_project_id(project),
        "replay_of": None,
        "subset": None,
    }
    assert header["project"]
    assert result["status"] == "completed"
    assert len(result["per_turn_results"]) == 2


@pytest.mark.parametrize("limits", [Limits(), Limits(concurrency=8), Limits(workers=2, concurrency=2)])
def test_sessions_stand_in_the_order_of_the_tasks(run: Sessions, sessions: Path, limits: Limits):
    summary = run(limits=limits)
    assert (summary.total, summary.succeeded) == (20, 20)
    assert ids(sessions) == ALL


def test_a_session_that_failed_the_task_ran_to_its_end_all_the_same(run: Sessions, sessions: Path):
    summary = run(AgentSpec("noop"))
    assert (summary.failed, summary.infrastructure_errors) == (20, 0)
    for line in lines(sessions):
        assert line["status"] == "succeeded"
        assert line["final_payload"] == {
            "final_answer": "",
            "overall_success": False,
            "reward_signal": 0.0,
            "state_match": False,
        }


def test_the_file_appears_when_all_sessions_are_through(run: Sessions, sessions: Path, eager_reports: None):
    seen: list[bool] = []

    def look(where: Progress) -> None:
        seen.append(sessions.exists())

    run(progress=look)
    assert len(seen) > 3
    assert not any(seen)
    assert sorted(entry.name for entry in sessions.parent.iterdir()) == [
        "run.json",
        "sessions.jsonl",
        "tasks.jsonl",
    ]


def test_a_run_that_was_interrupted_goes_on(run: Sessions, sessions: Path, eager_reports: None):
    def stop(where: Progress) -> None:
        if where.done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    assert not sessions.exists()
    partial = sessions.with_name("sessions.jsonl.partial")
    done = ids(partial)
    assert 6 <= len(done) < 20
    partial.write_bytes(partial.read_bytes() + b'{"task_id": "torn')
    summary = run()
    assert (summary.resumed, summary.succeeded) == (len(done), 20)
    assert ids(sessions) == ALL
    assert not partial.exists()


@pytest.mark.usefixtures("eager_reports")
def test_sessions_that_the_infrastructure_ended_are_run_again(run: Sessions, sessions: Path):
    def stop(where: Progress) -> None:
        if where.done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    partial = sessions.with_name("sessions.jsonl.partial")
    entries = list(lines(partial))
    entries[1]["status"] = "failed"
    entries[1]["conversation_result"] |= {"status": "infrastructure_error", "overall_success": None}
    partial.write_bytes(b"".join(orjson.dumps(entry) + b"\n" for entry in entries))
    assert run().resumed == len(entries) - 1
    assert ids(sessions) == ALL
    assert {line["status"] for line in lines(sessions)} == {"succeeded"}


@pytest.mark.parametrize("changed", ["agent", "tasks"])
@pytest.mark.usefixtures("eager_reports")
def test_what_is_there_of_another_run_is_not_gone_on_with(
    run: Sessions, project: Project, tasks: Path, sessions: Path, changed: str
):
    def stop(where: Progress) -> None:
        if where.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    if changed == "tasks":
        write_some(project, tasks, [document(number) for number in range(19)])
    with pytest.raises(InputError, match="cannot be resumed") as refusal:
        run(AgentSpec("noop") if changed == "agent" else AgentSpec("replay"))
    assert f"{'tasks_sha256' if changed == 'tasks' else 'agent.name'} was " in str(refusal.value)
    assert not sessions.exists()


def test_what_could_not_be_started_has_failed_and_says_nothing_of_the_agent(
    run: Sessions, project: Project, tasks: Path, sessions: Path
):
    write_some(project, tasks, [document(0), document(1, seed="nope"), document(2)])
    summary = run()
    assert (summary.succeeded, summary.failed, summary.infrastructure_errors) == (2, 0, 1)
    first, second, third = lines(sessions)
    assert (first["status"], second["status"], third["status"]) == ("succeeded", "failed", "succeeded")
    assert second["final_payload"] == {
        "final_answer": None,
        "overall_success": None,
        "reward_signal": None,
        "state_match": None,
    }
    assert "'nope'" in second["conversation_result"]["error_message"]


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def test_tokens_are_summed_by_role_and_what_was_not_recorded_is_told(
    run: Sessions, sessions: Path, tmp_path: Path
):
    search = {"tool_name": "client_search", "arguments": {"name": "Acme"}}
    past = tmp_path / "past.jsonl"
    past.write_bytes(
        orjson.dumps(
            {
                "conversation_id": "c-000",
                "metadata": {"agent": {"provider": "p", "model": "m"}},
                "per_turn_results": [
                    {
                        "turn_id": 1,
                        **search,
                        "token_usage": {"agent": _usage(10, 2), "judge": _usage(1, 1)},
                    },
                    {"turn_id": 2, **search, "token_usage": {"agent": _usage(30, 5)}},
                ],
            }
        )
    )
    summary = run(AgentSpec("recorded", past))
    assert (summary.failed, summary.not_recorded) == (1, 19)
    first, second = list(lines(sessions))[:2]
    assert first["status"] == "succeeded"
    usage = first["atlas_metadata"]["token_usage"]
    assert set(usage) == {"agent", "judge"}
    assert _usage(40, 7).items() <= usage["agent"].items()
    assert _usage(1, 1).items() <= usage["judge"].items()
    assert orjson.loads(sessions.with_name("run.json").read_bytes())["agent"]["model"] == "m"
    assert (second["status"], second["final_payload"]["reward_signal"]) == ("not_recorded", None)
    assert second["atlas_metadata"]["token_usage"] == {}


def test_tasks_that_are_not_there_are_an_input_error(run: Sessions, tasks: Path, sessions: Path):
    tasks.unlink()
    with pytest.raises(InputError, match="materialize atlas_tasks first"):
        run()
    assert list(sessions.parent.iterdir()) == []


def test_tasks_that_are_none_are_an_input_error(run: Sessions, tasks: Path, sessions: Path):
    tasks.write_bytes(b"not json\n")
    with pytest.raises(InputError, match="line 1 is not a task"):
        run()
    assert not sessions.exists()
