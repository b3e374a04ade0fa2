from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

from crm_assets.atlas import read_tasks, write_tasks
from crm_assets.atlas.task_index import TaskIndex
from crm_assets.errors import InputError
from tests.harness.build import document, turn, write_dataset

DOCUMENTS = [
    document(
        turn("client_search", {"name": name}),
        conversation_id=f"c-{number}",
        workflow_category="Quotes" if number % 2 else "Clients",
        complexity_level="simple",
    )
    for number, name in enumerate(["Acme", "Zoë & Söhne ☂", "Beta\u2028", "Gamma"])
]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    dataset = write_dataset(tmp_path / "dev.jsonl", DOCUMENTS)
    path = tmp_path / "tasks.jsonl"
    write_tasks(dataset, path, dataset_revision="5e" * 32, run_id="20260101T000000Z-x")
    return path


def test_a_task_is_read_from_where_it_stands(tasks: Path):
    index = TaskIndex(tasks)
    wanted = list(read_tasks(tasks))
    for position in (3, 0, 2, 1, 3):
        assert index.read(position) == wanted[position]
    assert [entry.task_id for entry in index.entries] == [task.task_id for task in wanted]


def test_learning_keys_are_those_of_existing_runs(tasks: Path):
    keys = [entry.learning_key for entry in TaskIndex(tasks).entries]
    clients = hashlib.sha256(b"crm-benchmark::Clients::simple").hexdigest()
    quotes = hashlib.sha256(b"crm-benchmark::Quotes::simple").hexdigest()
    assert keys == [clients, quotes, clients, quotes]


def test_one_key_can_stand_for_all(tasks: Path):
    index = TaskIndex(tasks, learning_key_override="all")
    assert {entry.learning_key for entry in index.entries} == {"all"}


def test_a_task_that_is_there_twice_is_refused(tasks: Path):
    first = tasks.read_bytes().splitlines(keepends=True)[0]
    tasks.write_bytes(tasks.read_bytes() + first)
    with pytest.raises(InputError, match=r"line 5: task c-0::20260101T000000Z-x is there twice"):
        TaskIndex(tasks)


def test_a_line_that_is_no_task_is_refused(tasks: Path):
    lines = tasks.read_bytes().splitlines(keepends=True)
    broken = {**orjson.loads(lines[2]), "conversation": {"turns": []}}
    tasks.write_bytes(b"".join([*lines[:2], orjson.dumps(broken) + b"\n", lines[3]]))
    with pytest.raises(InputError, match="line 3 is not a task"):
        TaskIndex(tasks)


def test_without_tasks_there_is_nothing_to_run(tasks: Path):
    tasks.write_bytes(b"")
    with pytest.raises(InputError, match="holds no task; materialize atlas_tasks again"):
        TaskIndex(tasks)
    tasks.unlink()
    with pytest.raises(InputError, match="Cannot read"):
        TaskIndex(tasks)
