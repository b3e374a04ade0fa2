from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.atlas.tasks import AtlasTask, TaskSource, read_task_ids, read_tasks, task_id, write_tasks
from crm_assets.conversations import DatasetError, load_conversations
from crm_assets.errors import InputError

RUN = "20250102T030405Z-abc123"


def document(conversation_id: str) -> dict[str, Any]:
    return {
        "conversation_id": conversation_id,
        "workflow_category": "Client Management",
        "complexity_level": "complex",
        "turns": [
            {
                "turn_id": 1,
                "user_utterance": "Find Acme ☎.",
                "expected_tool": "client_search",
                "expected_args": {"name": "Acme", "amount": 1.5, "ids": [1, None]},
                "references_previous_turns": [],
                "expected_response": {"text": "Found.", "answers": ["Found.", "Here."]},
            }
        ],
        "initial_entities": {"seed_data": {}},
        "segment_boundaries": [1],
    }


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    path.write_bytes(b"".join(orjson.dumps(document(f"c-{n}")) + b"\n" for n in range(5)))
    return path


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return tmp_path / "run" / "tasks.jsonl"


def write(dataset: Path, tasks: Path, **options: Any) -> int:
    return write_tasks(dataset, tasks, dataset_revision="abc", run_id=RUN, **options)


def test_tasks_are_read_as_they_were_written(dataset: Path, tasks: Path):
    assert write(dataset, tasks, use_llm_judge=True) == 5
    read = list(read_tasks(tasks))
    assert [task.conversation for task in read] == list(load_conversations(dataset))
    assert [task.task_id for task in read] == [f"c-{n}::{RUN}" for n in range(5)]
    assert list(read_task_ids(tasks)) == [task.task_id for task in read]
    assert read[0] == AtlasTask(
        task_id=task_id("c-0", RUN),
        run_id=RUN,
        conversation=next(load_conversations(dataset)),
        dataset_revision="abc",
        use_llm_judge=True,
    )


def test_a_task_has_the_fields_that_readers_rely_on(dataset: Path, tasks: Path):
    write(dataset, tasks)
    line = orjson.loads(tasks.read_bytes().splitlines()[0])
    assert {name: value for name, value in line.items() if name != "conversation"} == {
        "schema_version": 1,
        "task_id": f"c-0::{RUN}",
        "run_id": RUN,
        "dataset_revision": "abc",
        "backend": "postgres",
        "use_llm_judge": False,
    }
    assert line["conversation"]["conversation_id"] == "c-0"
    assert line["conversation"]["turns"][0]["expected_args"] == {
        "name": "Acme",
        "amount": 1.5,
        "ids": [1, None],
    }


@pytest.mark.parametrize(("limit", "count"), [(None, 5), (1, 1), (3, 3), (99, 5)])
def test_a_limit_takes_the_first_ones(dataset: Path, tasks: Path, limit: int | None, count: int):
    assert write(dataset, tasks, limit=limit) == count
    assert list(read_task_ids(tasks)) == [f"c-{n}::{RUN}" for n in range(count)]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_refused(dataset: Path, tasks: Path, limit: int):
    with pytest.raises(InputError, match="at least one conversation"):
        write(dataset, tasks, limit=limit)
    assert not tasks.exists()


def test_a_malformed_dataset_leaves_no_tasks(dataset: Path, tasks: Path):
    dataset.write_bytes(dataset.read_bytes() + b"not json\n")
    with pytest.raises(DatasetError, match=r"dev\.jsonl:6"):
        write(dataset, tasks)
    assert list(tasks.parent.iterdir()) == []


def _changed(field: str, value: Any) -> bytes:
    task = {
        "schema_version": 1,
        "task_id": f"c-0::{RUN}",
        "run_id": RUN,
        "conversation": document("c-0"),
        "dataset_revision": "abc",
        field: value,
    }
    return orjson.dumps({name: entry for name, entry in task.items() if entry is not None})


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b'{"task_id": "c-0::',
        b"[]",
        b"5",
        b"{}",
        _changed("schema_version", 2),
        _changed("backend", "sqlite"),
        _changed("task_id", None),
        _changed("conversation", {"conversation_id": "c-0", "turns": []}),
    ],
)
def test_a_line_that_is_no_task_is_named(dataset: Path, tasks: Path, line: bytes):
    write(dataset, tasks)
    tasks.write_bytes(tasks.read_bytes() + line + b"\n")
    with pytest.raises(InputError) as refusal:
        list(read_tasks(tasks))
    assert str(refusal.value).startswith(f"{tasks}, line 6 is not a task (")
    assert str(refusal.value).endswith("materialize atlas_tasks again.")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("line", [b"not json", b"[]", b"5", b"{}"])
def test_a_line_without_an_id_is_named(dataset: Path, tasks: Path, line: bytes):
    write(dataset, tasks)
    tasks.write_bytes(line + b"\n" + tasks.read_bytes())
    with pytest.raises(InputError, match="line 1 is not a task"):
        list(read_task_ids(tasks))


def test_one_document_over_many_lines_is_one_mistake(dataset: Path, tasks: Path):
    write(dataset, tasks, limit=1)
    pretty = orjson.dumps(orjson.loads(tasks.read_bytes()), option=orjson.OPT_INDENT_2)
    tasks.write_bytes(pretty)
    for read in (read_tasks, read_task_ids, lambda path: TaskSource(path).items()):
        with pytest.raises(InputError, match="is one JSON document, not one a line"):
            list(read(tasks))


def test_tasks_that_are_not_there_are_an_input_error(tasks: Path):
    for read in (read_tasks, read_task_ids):
        with pytest.raises(InputError, match="Cannot read"):
            list(read(tasks))
