from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

from crm_assets.atlas.tasks import TaskSource, read_tasks, write_tasks
from crm_assets.errors import InputError
from crm_assets.workspace.jsonl import read_line_at
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


@pytest.mark.parametrize("check", [True, False])
def test_a_task_is_read_from_where_it_stands(tasks: Path, check: bool):
    source = TaskSource(tasks)
    items = source.items(check=check)
    wanted = list(read_tasks(tasks))
    for position in (3, 0, 2, 1, 3):
        item = items[position]
        line = read_line_at(tasks, item.offset)
        assert source.parse(item, line) == wanted[position]
    assert [item.task_id for item in items] == [task.task_id for task in wanted]
    assert [item.turns for item in items] == [len(task.conversation.turns) for task in wanted]


@pytest.mark.parametrize("check", [True, False])
def test_learning_keys_are_those_of_existing_runs(tasks: Path, check: bool):
    keys = [item.learning_key for item in TaskSource(tasks).items(check=check)]
    clients = hashlib.sha256(b"crm-benchmark::Clients::simple").hexdigest()
    quotes = hashlib.sha256(b"crm-benchmark::Quotes::simple").hexdigest()
    assert keys == [clients, quotes, clients, quotes]


def test_a_task_that_is_there_twice_is_refused(tasks: Path):
    first = tasks.read_bytes().splitlines(keepends=True)[0]
    tasks.write_bytes(tasks.read_bytes() + first)
    with pytest.raises(InputError, match=r"line 5: task c-0::20260101T000000Z-x is there twice"):
        TaskSource(tasks).items(check=True)


def test_a_line_that_is_no_task_is_refused(tasks: Path):
    lines = tasks.read_bytes().splitlines(keepends=True)
    broken = {**orjson.loads(lines[2]), "conversation": {"turns": []}}
    tasks.write_bytes(b"".join([*lines[:2], orjson.dumps(broken) + b"\n", lines[3]]))
    with pytest.raises(InputError, match="line 3 is not a task"):
        TaskSource(tasks).items(check=True)


def test_without_tasks_there_is_nothing_to_run(tasks: Path):
    tasks.write_bytes(b"")
    with pytest.raises(InputError, match="holds no task; materialize atlas_tasks again"):
        TaskSource(tasks).items(check=True)
    tasks.unlink()
    with pytest.raises(InputError, match="There are no tasks at"):
        TaskSource(tasks).items(check=True)


@pytest.mark.parametrize(
    "line", [b"not json", b"[]", b"{}", b'{"conversation": 5}', b'{"task_id": "x", "conversation": {}}']
)
def test_a_line_that_cannot_be_a_task_is_refused_without_a_check_too(tasks: Path, line: bytes):
    tasks.write_bytes(tasks.read_bytes() + line + b"\n")
    with pytest.raises(InputError, match="line 5 is not a task"):
        TaskSource(tasks).items()


def test_a_task_that_has_changed_since_is_refused(tasks: Path):
    source = TaskSource(tasks)
    item = source.items()[2]
    with pytest.raises(InputError, match="line 3 is not a task"):
        source.parse(item, b'{"task_id": "x"}\n')
