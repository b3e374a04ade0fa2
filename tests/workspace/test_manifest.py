"""manifest.json: what it holds, and that it cannot be changed unseen."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from crm_assets.audit import MANIFEST_NAME, read_manifest, write_manifest
from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project


@pytest.fixture
def folder(tmp_path: Path) -> BaselinePaths:
    """Some files, in the place of a baseline's."""
    paths = BaselinePaths.of(Project(tmp_path), BaselineKey.of("dev", "20260131T093000Z"))
    (paths.folder / "plots").mkdir(parents=True)
    paths.sessions.write_bytes(b"one\n")
    (paths.folder / "plots" / "curve.svg").write_bytes(b"<svg/>")
    return paths


def test_it_names_every_file_with_size_and_hash(folder: BaselinePaths) -> None:
    path = write_manifest(folder)
    manifest = read_manifest(folder)
    assert path == folder.folder / MANIFEST_NAME
    assert list(manifest.files) == ["plots/curve.svg", "sessions.jsonl"]
    record = manifest.files["sessions.jsonl"]
    assert (record.bytes, record.sha256) == (4, sha256_of_file(folder.sessions))
    assert manifest.baseline == "dev|20260131T093000Z"


def test_what_a_process_left_that_was_killed_as_it_moved_the_sessions_is_removed(
    folder: BaselinePaths,
) -> None:
    left = folder.folder / "sessions.jsonl.partial.run.json"
    left.write_bytes(b"{}")
    write_manifest(folder)
    assert not left.exists()


def test_what_is_being_written_is_not_in_it(folder: BaselinePaths) -> None:
    (folder.folder / ".metrics.json.x1").write_bytes(b"{")
    folder.partial.write_bytes(b"")
    folder.partial.with_name(f"{folder.partial.name}.run.json").write_bytes(b"{}")
    write_manifest(folder)
    assert list(read_manifest(folder).files) == ["plots/curve.svg", "sessions.jsonl"]


def test_the_same_files_give_the_same_manifest(folder: BaselinePaths) -> None:
    first = write_manifest(folder).read_bytes()
    assert write_manifest(folder).read_bytes() == first


def test_any_changed_byte_of_it_shows(folder: BaselinePaths) -> None:
    path = write_manifest(folder)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match=MANIFEST_NAME):
            read_manifest(folder)
    path.write_bytes(whole + b"\n")
    with pytest.raises(InputError, match="was changed"):
        read_manifest(folder)


def test_one_of_another_baseline_is_refused(folder: BaselinePaths) -> None:
    manifest = write_manifest(folder).read_bytes()
    project = Project(folder.folder.parents[4])
    other = BaselinePaths.of(project, BaselineKey.of("dev", "20260201T093000Z"))
    other.folder.mkdir(parents=True)
    (other.folder / MANIFEST_NAME).write_bytes(manifest)
    with pytest.raises(InputError, match="belongs to another one"):
        read_manifest(other)


def test_a_missing_one_says_how_to_get_it(folder: BaselinePaths) -> None:
    with pytest.raises(InputError, match="materialize baseline_readme"):
        read_manifest(folder)


def test_a_newer_layout_is_refused(folder: BaselinePaths) -> None:
    path = write_manifest(folder)
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "schema_version": 3}))
    with pytest.raises(InputError, match="is not a manifest"):
        read_manifest(folder)
