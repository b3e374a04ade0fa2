from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.engine.checkpoint import Checkpoint, SessionLine
from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.baseline_files import sidecar_of
from crm_assets.workspace.files import json_line

IDENTITY = {"dataset_sha256": "abc", "agent": {"name": "replay"}, "sample": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "results.jsonl"


def entry(key: str, *, status: str = "completed", success: bool | None = True, pad: int = 0) -> SessionLine:
    document = {"conversation_id": key, "status": status, "overall_success": success, "pad": "x" * pad}
    return SessionLine(key, status, success, json_line(document))


def write(path: Path, *entries: SessionLine, order: list[str] | None = None, **identity: Any) -> Checkpoint:
    with Checkpoint(path, {**IDENTITY, **identity}) as results:
        results.append(entries)
        if order is not None:
            results.finish(order)
    return results


def keys(path: Path) -> list[str]:
    return [orjson.loads(line)["conversation_id"] for line in path.read_bytes().splitlines()]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_done_is_found_again(path: Path):
    write(path, entry("a"), entry("b", success=False), entry("c", status="not_recorded", success=None))
    resumed = write(path, entry("d"))
    assert resumed.finished == {"a", "b", "c", "d"}
    assert (resumed.tally.total, resumed.tally.succeeded, resumed.tally.not_recorded) == (4, 2, 1)
    assert keys(path) == ["a", "b", "c", "d"]


def test_what_has_no_verdict_counts_neither_as_success_nor_as_failure(path: Path):
    tally = write(
        path,
        entry("a"),
        entry("b", success=False),
        entry("c", success=None),
        entry("d", status="infrastructure_error", success=None),
        entry("e", status="not_run", success=None),
    ).tally
    assert (tally.total, tally.succeeded, tally.failed, tally.undecided) == (5, 1, 1, 1)
    assert (tally.infrastructure_errors, tally.not_run) == (1, 1)


def test_two_processes_never_write_one_file(path: Path):
    with Checkpoint(path, IDENTITY) as first:
        first.append([entry("a")])
        with pytest.raises(InputError, match="being written by another process"):
            write(path)
        first.append([entry("b")])
    assert write(path).finished == {"a", "b"}


def test_lines_come_to_stand_in_the_order_of_the_source(path: Path):
    write(path, entry("c"), entry("a"), entry("b"), order=["a", "b", "c"])
    assert keys(path) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "torn", [b'{"conversation_id": "b", "status": "comp', b'{"conversation_id": "b"}', b"{"]
)
def test_a_torn_last_line_is_cut_off(path: Path, torn: bytes):
    write(path, entry("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with Checkpoint(path, IDENTITY) as results:
        assert results.finished == {"a"}
        assert path.read_bytes() == whole
        results.append([entry("b")])
    assert keys(path) == ["a", "b"]


def test_lines_that_are_none_of_ours_are_dropped(path: Path):
    write(path, entry("a"), entry("b"))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'\0\0\0\n[1]\n{"x": 1}\n' + second)
    assert write(path).finished == {"a", "b"}
    assert keys(path) == ["a", "b"]


@pytest.mark.parametrize("status", ["infrastructure_error", "not_run"])
def test_what_could_not_be_run_is_to_be_done_again(path: Path, status: str):
    write(path, entry("a"), entry("b", status=status, success=None), entry("c"))
    with Checkpoint(path, IDENTITY) as results:
        assert results.finished == {"a", "c"}
        assert (results.tally.infrastructure_errors, results.tally.not_run) == (0, 0)
        results.append([entry("b")])
        results.finish(["a", "b", "c"])
    assert keys(path) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataset_sha256": "def"}, 'dataset_sha256 was "abc" and is now "def"'),
        ({"agent": {"name": "noop"}}, 'agent.name was "replay" and is now "noop"'),
        ({"agent": {"name": "replay", "a_sha256": "1", "b": 2}}, "agent.b was not set and is now 2"),
        ({"sample": 5}, "sample was not set and is now 5"),
        ({"seed": 1}, "seed was not set and is now 1"),
    ],
)
def test_another_run_is_refused_naming_what_changed(path: Path, change, named):
    write(path, entry("a"))
    before = path.read_bytes()
    with (
        pytest.raises(InputError, match="cannot be resumed") as refusal,
        Checkpoint(path, {**IDENTITY, **change}),
    ):
        pass
    assert named in str(refusal.value)
    assert path.read_bytes() == before
    assert write(path).finished == {"a"}


@pytest.mark.parametrize("sidecar", [None, b"", b"not json", b"[]"])
def test_a_file_that_does_not_say_which_run_it_is_of_is_refused(path: Path, sidecar: bytes | None):
    path.parent.mkdir()
    path.write_bytes(b"somebody's own notes\n")
    if sidecar is not None:
        path.with_name("results.jsonl.run.json").write_bytes(sidecar)
    with pytest.raises(InputError, match="overwrite it"), Checkpoint(path, IDENTITY):
        pass
    assert path.read_bytes() == b"somebody's own notes\n"


def test_an_empty_file_is_nobodys(path: Path):
    path.parent.mkdir()
    path.touch()
    assert write(path, entry("a")).finished == {"a"}


def test_overwriting_begins_anew(path: Path):
    write(path, entry("a"))
    with Checkpoint(path, {"another": "run"}, overwrite=True) as results:
        assert results.finished == set()
        results.append([entry("b")])
    assert keys(path) == ["b"]


def test_a_full_disk_is_one_sentence_and_leaves_whole_lines(path: Path):
    with full_disk(2500), pytest.raises(InfrastructureError) as failure:
        write(path, entry("a", pad=900), entry("b", pad=900), entry("c", pad=900), entry("d", pad=900))
    assert str(path) in str(failure.value)
    assert "File too large" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert path.read_bytes().endswith(b"}\n")
    assert keys(path) == ["a", "b"]
    assert write(path, entry("c"), entry("d")).tally.total == 4


def test_a_disk_that_is_full_from_the_start_leaves_nothing(path: Path):
    with full_disk(4), pytest.raises(InfrastructureError, match="Could not write"):
        write(path, entry("a"))
    assert list(path.parent.iterdir()) == []


def test_a_disk_that_is_full_when_lines_are_sorted_keeps_them(path: Path):
    write(path, entry("b", pad=900), entry("a", pad=900))
    before = path.read_bytes()
    with full_disk(1000), pytest.raises(InfrastructureError):
        write(path, order=["a", "b"])
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "results.jsonl",
        "results.jsonl.run.json",
    ]


@pytest.mark.parametrize("blocked", ["folder", "results.jsonl"])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, blocked: str):
    # Not by permissions, which root does not heed.
    path = tmp_path / "folder" / "results.jsonl"
    if blocked == "folder":
        path.parent.write_text("a file where a folder should be")
    else:
        path.mkdir(parents=True)
    with pytest.raises((InfrastructureError, InputError)) as failure:
        write(path, entry("a"))
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_facts_are_kept_beside_the_identity_and_do_not_keep_a_run_from_being_resumed(path: Path):
    def header() -> dict[str, Any]:
        document: dict[str, Any] = orjson.loads(sidecar_of(path).read_bytes())
        return document

    with Checkpoint(path, IDENTITY, {"software": {"python": "3.11"}, "answered_by": {}}) as results:
        results.append([entry("a")])
    assert header() == {**IDENTITY, "software": {"python": "3.11"}, "answered_by": {}}
    with Checkpoint(path, IDENTITY, {"software": {"python": "3.12"}, "answered_by": {}}) as results:
        assert results.finished == {"a"}
    assert header()["software"] == {"python": "3.11, 3.12"}
    with Checkpoint(path, IDENTITY, {"software": {"python": "3.12"}, "answered_by": {}}):
        pass
    assert header()["software"] == {"python": "3.11, 3.12"}
