from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from crm_assets.errors import InfrastructureError
from crm_assets.workspace.files import (
    atomic_writer,
    json_line,
    read_json,
    remove_unfinished,
    sha256_of_file,
    write_json,
    write_jsonl,
    write_text,
)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process can grow beyond 1,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_complete_and_only_at_the_end(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic_writer(path) as handle:
        handle.write(b"half")
        handle.flush()
        assert not path.exists()
        handle.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert names(path.parent) == ["file.txt"]


def test_readers_see_the_old_file_until_the_new_one_is_there(tmp_path: Path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        with atomic_writer(path) as handle:
            handle.write(b"new")
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_goes_wrong_while_writing_leaves_nothing(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "file.txt"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_writer(path) as handle:
        handle.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, existing: bool):
    path = tmp_path / "file.txt"
    if existing:
        path.write_bytes(b"old")
    with pytest.raises(InfrastructureError) as failure:
        write_text(path, "x" * 5000)
    assert str(path) in str(failure.value)
    assert "File too large" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert names(tmp_path) == (["file.txt"] if existing else [])
    assert not existing or path.read_bytes() == b"old"


@pytest.mark.usefixtures("full_disk")
def test_a_disk_that_fills_up_between_records_leaves_nothing(tmp_path: Path):
    with pytest.raises(InfrastructureError):
        write_jsonl(tmp_path / "file.jsonl", ({"n": n, "pad": "x" * 90} for n in range(1000)))
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path):
    (tmp_path / "folder").write_text("")
    with pytest.raises(InfrastructureError, match="Could not write"):
        write_text(tmp_path / "folder" / "file.txt", "x")


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_can_be_read_by_the_team(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


def test_text_is_utf_8(tmp_path: Path):
    write_text(tmp_path / "file.txt", "Grüße 東京")
    assert (tmp_path / "file.txt").read_bytes() == "Grüße 東京".encode()


@dataclass(frozen=True)
class Record:
    name: str
    parts: tuple[int, ...]


def test_a_json_line_is_one_line_and_keeps_its_order():
    line = json_line({"b": "two\nlines", "a": Record("ü", (1, 2)), 3: None})
    assert line == '{"b":"two\\nlines","a":{"name":"ü","parts":[1,2]},"3":null}\n'.encode()


def test_records_are_written_a_line_each(tmp_path: Path):
    path = tmp_path / "file.jsonl"
    assert write_jsonl(path, iter([{"a": 1}, Record("x", ())])) == 2
    assert [orjson.loads(line) for line in path.read_bytes().splitlines()] == [
        {"a": 1},
        {"name": "x", "parts": []},
    ]
    assert write_jsonl(path, []) == 0
    assert path.read_bytes() == b""


def test_a_document_is_read_as_it_was_written_and_people_can_read_it_too(tmp_path: Path):
    path = tmp_path / "file.json"
    document = {"b": [1.5, None, True], "a": {"ü": "x"}}
    write_json(path, document)
    assert read_json(path) == document
    assert list(read_json(path)) == ["b", "a"]
    assert path.read_text().startswith('{\n  "b": [')
    assert path.read_text().endswith("}\n")


def test_a_hash_is_that_of_the_whole_file(tmp_path: Path):
    path = tmp_path / "file"
    for content in (b"", b"x" * ((1 << 20) + 7)):
        path.write_bytes(content)
        assert sha256_of_file(path) == hashlib.sha256(content).hexdigest()


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".mine").touch()
    with pytest.raises(InfrastructureError), atomic_writer(tmp_path / "plots" / "one.svg"):
        assert len(list((tmp_path / "plots").iterdir())) == 1
        remove_unfinished(tmp_path)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [".mine"]
