from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.jsonl import (
    append_line,
    open_locked,
    read_line_at,
    read_lines,
    read_lines_at,
    write_lines,
)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_come_with_number_and_offset_and_are_found_again_by_it(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"b": "\xc3\xa4"}\n{"torn')
    lines = list(read_lines(path))
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert b"".join(line.data for line in lines) == path.read_bytes()
    assert [line.is_torn for line in lines] == [False, False, False, True]
    for line in lines:
        assert read_line_at(path, line.offset) == line.data
    offsets = [lines[2].offset, lines[0].offset]
    assert list(read_lines_at(path, offsets)) == [lines[2].data, lines[0].data]


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"b": 2}\n')
    seen: list[bytes] = []
    lines = list(read_lines(path, on_bytes=seen.append))
    assert [line.data for line in lines] == [b'{"a": 1}\n', b'{"b": 2}\n']
    assert list(read_lines_at(path, [line.offset for line in lines])) == [line.data for line in lines]
    assert b"".join(seen) == path.read_bytes()


def test_a_line_beyond_the_limit_is_cut_and_its_rest_skipped(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1234\n" + b"x" * 3_000_000 + b"\n12345\n12345")
    seen: list[bytes] = []
    lines = list(read_lines(path, limit=5, on_bytes=seen.append))
    assert [line.data for line in lines] == [b"1234\n", b"xxxxxx", b"12345\n", b"12345"]
    assert [line.offset for line in lines] == [0, 5, 3_000_006, 3_000_012]
    assert b"".join(seen) == path.read_bytes()


@pytest.mark.parametrize("read", [lambda path: list(read_lines(path)), lambda path: read_line_at(path, 0)])
def test_a_missing_file_is_refused_by_name(tmp_path: Path, read):
    with pytest.raises(InputError, match=r"Cannot read .*nowhere\.jsonl: No such file"):
        read(tmp_path / "nowhere.jsonl")


def test_a_locked_file_is_refused_until_it_is_closed(tmp_path: Path):
    path = tmp_path / "deep" / "a.jsonl"
    with open_locked(path):
        with pytest.raises(InputError, match=r"a\.jsonl is being written by another process"):
            open_locked(path)
        with pytest.raises(InputError, match=r"results\.jsonl is being written by another process"):
            open_locked(path, guards=tmp_path / "results.jsonl")
    open_locked(path).close()


def test_lines_are_written_at_once(tmp_path: Path):
    sizes: list[int] = []

    class Watched(FileIO):
        def write(self, data: Any) -> int:
            sizes.append(len(data))
            return super().write(data)

    with Watched(tmp_path / "a.jsonl", "a") as handle:
        write_lines(handle, [b"x" * 100_000 + b"\n", b"y\n"])
    assert sizes == [100_003]


def test_a_full_disk_keeps_whole_lines(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    with open_locked(path) as handle:
        write_lines(handle, [b"first\n"])
        with full_disk(15), pytest.raises(OSError, match="too large"):
            write_lines(handle, [b"second\n", b"third\n", b"fourth\n"])
        assert path.read_bytes() == b"first\nsecond\n"
        write_lines(handle, [b"third\n"])
    assert path.read_bytes() == b"first\nsecond\nthird\n"


def test_a_line_that_cannot_be_appended_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    append_line(path, b"first\n")
    with full_disk(8), pytest.raises(InfrastructureError, match=r"Could not write .*a\.jsonl"):
        append_line(path, b"second\n")
    assert path.read_bytes() == b"first\n"


def _append_many(path: Path, letter: str) -> None:
    for _ in range(50):
        append_line(path, f"{letter * 3000}\n".encode())


def test_processes_that_append_to_one_file_never_mix_their_lines(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    context = get_context("fork")
    children = [context.Process(target=_append_many, args=(path, letter)) for letter in "abc"]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    lines = [line.data for line in read_lines(path)]
    assert sorted(lines) == sorted(f"{letter * 3000}\n".encode() for letter in "abc" * 50)
