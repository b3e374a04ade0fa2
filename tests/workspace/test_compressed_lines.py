from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_assets.errors import InputError
from crm_assets.workspace.compressed_lines import CompressedLines, read_compressed_lines
from tests.llm.test_ledger import full_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "lines.gz"


def append(path: Path, *lines: bytes) -> None:
    writer = CompressedLines(path)
    for line in lines:
        writer.append([line])
    writer.close()


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"line %d %s\n" % (n, b"\x00\x00\xff\xff" * (n % 3)) for n in range(start, start + count)]


def lines_of(path: Path) -> list[bytes]:
    return [line for _, line in read_compressed_lines(path)]


def test_each_start_appends_and_gzip_reads_it(path: Path) -> None:
    append(path, *numbered(3))
    append(path)  # nothing was to be written
    append(path, *numbered(2, 3))
    assert gzip.decompress(path.read_bytes()) == b"".join(numbered(5))
    assert list(read_compressed_lines(path)) == list(enumerate(numbered(5), 1))


@given(st.integers(0, 400))
def test_of_a_file_cut_anywhere_each_whole_line_stays_and_more_can_follow(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "lines.gz"
    append(path, *numbered(3))
    writer, ends = CompressedLines(path), []
    for line in numbered(9, 3):
        writer.append([line])
        ends.append(path.stat().st_size)
    writer._handle.close()  # as a kill does
    size = max(ends[0] - 20, path.stat().st_size - cut)
    with path.open("r+b") as file:
        file.truncate(size)
    append(path, b"after\n")
    kept = sum(end <= size for end in ends)
    assert lines_of(path) == [*numbered(3 + kept), b"after\n"]


def test_a_full_disk_refuses_the_whole_append_and_the_next_one_fits(path: Path) -> None:
    writer = CompressedLines(path)
    writer.append([b"first\n"])
    room = path.stat().st_size + 40
    with full_disk(room), pytest.raises(OSError, match="File too large"):
        writer.append([bytes(range(11, 256)) * 9 + b"\n"])
    writer.append([b"second\n"])
    writer.close()
    assert lines_of(path) == [b"first\n", b"second\n"]


def test_a_second_writer_and_damage_are_refused(path: Path) -> None:
    append(path, *numbered(50))
    writer = CompressedLines(path)
    with pytest.raises(InputError, match="being written by another process"):
        CompressedLines(path)
    writer.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"lines\.gz is cut off or damaged"):
        lines_of(path)
    with pytest.raises(InputError, match=r"lines\.gz is cut off or damaged"):
        CompressedLines(path)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        lines_of(path)
