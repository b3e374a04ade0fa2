from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.workspace.compressed_lines import pack_lines, read_compressed_lines
from tests.llm.test_ledger import full_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lines.gz"


def pack(path: Path, *lines: bytes) -> None:
    source = path.with_name("lines")
    source.write_bytes(b"".join(lines))
    pack_lines(source, path)


def test_each_time_more_is_appended_and_gzip_reads_it(path: Path) -> None:
    pack(path, b"one\n", b"two\n")
    before = path.read_bytes()
    pack(path, b"three\n")
    assert gzip.decompress(path.read_bytes()) == b"one\ntwo\nthree\n"
    assert list(read_compressed_lines(path)) == [(1, b"one\n"), (2, b"two\n"), (3, b"three\n")]
    path.unlink()
    pack(path, b"one\n", b"two\n")
    assert path.read_bytes() == before


def test_a_full_disk_leaves_what_was_there(path: Path) -> None:
    pack(path, b"one\n")
    size = path.stat().st_size
    large = bytes(number * number % 251 for number in range(100_000)) + b"\n"
    source = path.with_name("lines")
    source.write_bytes(large)
    with full_disk(size + 100), pytest.raises(InfrastructureError):
        pack_lines(source, path)
    assert [line for _, line in read_compressed_lines(path)] == [b"one\n"]
    assert {each.name for each in path.parent.iterdir()} == {"lines", "lines.gz"}


def test_damage_is_said(path: Path) -> None:
    pack(path, *(b"line %d\n" % number for number in range(500)))
    content = path.read_bytes()
    for damaged in (content[:-9], content[:300] + b"\xff" + content[301:], b"plain\n"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"lines\.gz is cut off or damaged"):
            list(read_compressed_lines(path))
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        list(read_compressed_lines(path))
