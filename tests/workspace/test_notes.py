"""Notes and tags of runs, beside their folders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crm_assets.errors import InputError
from crm_assets.workspace.baseline_files import BaselinePaths, plan_run
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.notes import add_note, author_here, read_notes
from crm_assets.workspace.project import Project

KEY = BaselineKey.of("dev", "20260131T093000Z")


@pytest.fixture
def paths(tmp_path: Path) -> BaselinePaths:
    project = Project(tmp_path)
    plan_run(project, KEY)
    return BaselinePaths.of(project, KEY)


def test_notes_and_tags_are_kept_in_order_with_author_and_time(paths: BaselinePaths) -> None:
    assert read_notes(paths).lines == ()
    add_note(paths, "  First try. ", tag=["trial", "trial"], author="Ada")
    add_note(paths, tag=["best"], author="Bob")
    found = add_note(paths, "Better than I thought.", untag=["trial"], author="Ada")
    assert found == read_notes(paths)
    assert found.tags == ("best",)
    assert [(each.text, each.author) for each in found.notes] == [
        ("First try.", "Ada"),
        ("Better than I thought.", "Ada"),
    ]
    assert found.lines[0].tagged == ("trial",)
    assert all(each.at.endswith("+00:00") for each in found.lines)
    assert not paths.folder.exists()  # beside it, so that no manifest covers them


def test_a_tag_that_is_there_is_not_added_again(paths: BaselinePaths) -> None:
    add_note(paths, tag=["best"], author="Ada")
    assert len(add_note(paths, tag=["best"], author="Bob").lines) == 1


def test_what_cannot_be_noted_is_told_and_changes_nothing(paths: BaselinePaths, tmp_path: Path) -> None:
    add_note(paths, "Kept.", author="Ada")
    before = paths.notes.read_bytes()
    with pytest.raises(InputError, match=r"'Best one' is not a tag"):
        add_note(paths, "x", tag=["Best one"], author="Ada")
    with pytest.raises(InputError, match="has no tag 'best'; its tags: none"):
        add_note(paths, "x", untag=["best"], author="Ada")
    other = BaselinePaths.of(Project(tmp_path), BaselineKey.of("dev", "20260201T093000Z"))
    with pytest.raises(InputError, match="There is no run 20260201T093000Z of dataset dev"):
        add_note(other, "x", author="Ada")
    assert paths.notes.read_bytes() == before and not other.notes.exists()
    paths.notes.write_bytes(before + b"{}\n")
    with pytest.raises(InputError, match=r"notes\.jsonl, line 2: .*remove the line"):
        read_notes(paths)


def test_people_who_write_at_once_lose_nothing(paths: BaselinePaths) -> None:
    def write(number: int) -> None:
        add_note(paths, f"Note {number}", tag=[f"t{number}"], author="Ada")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    found = read_notes(paths)
    assert {each.text for each in found.notes} == {f"Note {number}" for number in range(24)}
    assert len(found.tags) == 24


def test_the_author_is_gits_user_or_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Ada Lovelace\n")
    assert author_here(tmp_path) == "Ada Lovelace"
    (tmp_path / "gitconfig").write_text("")
    monkeypatch.setenv("LOGNAME", "ada")
    assert author_here(tmp_path) == "ada"
