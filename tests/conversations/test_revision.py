from __future__ import annotations

import hashlib
import shutil
import subprocess
from datetime import datetime

import pytest

from crm_assets.conversations import read_revision
from crm_assets.errors import InputError

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def _no_outer_repository(tmp_path, monkeypatch):
    # Whatever repository the temporary folder happens to lie in is not the test's.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit, and a way to run git in it."""

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "other.txt").write_text("x")
    git("add", "other.txt")
    git("commit", "-qm", "one")
    return git


def test_content_identifies_it_and_mtime_dates_it_without_git(dataset, document, tmp_path):
    path = dataset(document("a"), b"", document("b"))
    revision = read_revision(path, "data", root=tmp_path)
    assert revision.dataset == "data"
    assert revision.path == "data.jsonl"
    assert revision.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert revision.bytes == path.stat().st_size
    assert revision.conversations == 2
    assert (revision.git_commit, revision.git_dirty) == (None, None)
    stamp = datetime.fromisoformat(revision.mtime.replace("Z", "+00:00"))
    assert abs(stamp.timestamp() - path.stat().st_mtime) < 1


@needs_git
def test_a_committed_file_is_clean(dataset, document, repository):
    path = dataset(document("a"))
    repository("add", "data.jsonl")
    repository("commit", "-qm", "two")
    revision = read_revision(path, "data")
    assert revision.git_commit == repository("rev-parse", "HEAD")
    assert revision.git_dirty is False
    assert revision.mtime is None


@needs_git
def test_only_this_file_counts_as_dirty(dataset, document, repository, tmp_path):
    path = dataset(document("a"))
    repository("add", "data.jsonl")
    repository("commit", "-qm", "two")
    (tmp_path / "other.txt").write_text("changed")
    (tmp_path / "new.txt").write_text("new")
    assert read_revision(path, "data").git_dirty is False
    path.write_bytes(path.read_bytes() + b"\n")
    assert read_revision(path, "data").git_dirty is True


@needs_git
@pytest.mark.parametrize("ignored", [False, True])
def test_a_file_that_was_never_committed_is_of_no_commit(dataset, document, repository, tmp_path, ignored):
    path = dataset(document("a"))
    if ignored:
        (tmp_path / ".gitignore").write_text("*.jsonl\n")
    revision = read_revision(path, "data")
    assert (revision.git_commit, revision.git_dirty) == (None, None)
    assert revision.mtime is not None


@needs_git
def test_a_repository_without_commits_is_as_good_as_none(dataset, document, tmp_path):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    revision = read_revision(dataset(document("a")), "data")
    assert revision.git_commit is None
    assert revision.mtime is not None


def test_without_git_installed_there_is_still_a_revision(dataset, document, monkeypatch, tmp_path):
    path = dataset(document("a"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert read_revision(path, "data").mtime is not None


def test_a_file_outside_the_project_keeps_its_whole_path(dataset, document, tmp_path):
    path = dataset(document("a"))
    assert read_revision(path, "data", root=tmp_path / "elsewhere").path == path.resolve().as_posix()


def test_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(InputError, match="There is no dataset at"):
        read_revision(tmp_path / "none.jsonl", "none")
