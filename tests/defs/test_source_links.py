"""Links from assets to their code."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from crm_assets.defs import source_links
from crm_assets.defs.assets import atlas_tasks
from crm_assets.defs.source_links import web_address, with_source_links


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:team/crm.git", "https://github.com/team/crm"),
        ("https://github.com/team/crm", "https://github.com/team/crm"),
        (
            "https://user:t0k3n@gitlab.example.com/group/sub/crm.git",
            "https://gitlab.example.com/group/sub/crm",
        ),
        ("ssh://git@gitlab.example.com:2222/group/crm.git", "https://gitlab.example.com/group/crm"),
        ("/srv/git/crm.git", None),
        ("https://example.com/crm.git", None),
        ("", None),
    ],
)
def test_a_remote_is_shown_where_people_can_see_it_and_without_its_token(
    remote: str, address: str | None
) -> None:
    assert web_address(remote) == address


def reference() -> dg.LocalFileCodeReference | dg.UrlCodeReference:
    (asset,) = with_source_links([atlas_tasks])
    assert isinstance(asset, dg.AssetsDefinition)
    references = asset.metadata_by_key[asset.key]["dagster/code_references"]
    assert isinstance(references, dg.CodeReferencesMetadataValue)
    found = references.code_references[-1]
    assert isinstance(found, dg.LocalFileCodeReference | dg.UrlCodeReference)
    return found


def test_from_a_clone_the_link_is_that_of_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"config": "git@github.com:team/crm.git", "rev-parse": "abc123"}
    monkeypatch.setattr(source_links, "ask_git", lambda _, command, *__: answers[command])
    assert reference().source.startswith(
        "https://github.com/team/crm/tree/abc123/crm_assets/defs/assets/tasks.py#L"
    )


def test_elsewhere_it_is_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(source_links, "ask_git", lambda *_: None)
    found = reference()
    assert isinstance(found, dg.LocalFileCodeReference)
    assert found.file_path.endswith("crm_assets/defs/assets/tasks.py")
    line = Path(found.file_path).read_text().splitlines()[(found.line_number or 1) - 1]
    assert line.startswith("@dg.asset")
