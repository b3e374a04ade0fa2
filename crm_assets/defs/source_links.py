"""Links from assets to the code that makes them: on GitHub or GitLab if it comes from there, else local."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from crm_assets.workspace.git import ask_git

__all__ = ["web_address", "with_source_links"]

_REMOTE = re.compile(
    r"(?:https?://|ssh://|git://)?(?:[^@/]*@)?(?P<host>[^/:@]+)(?::\d+)?[:/](?P<path>.+?)(?:\.git)?/?"
)


def web_address(remote: str) -> str | None:
    """Return the web page of a git remote; None unless it is on GitHub or GitLab.

    A user name or token in the remote is not part of it.
    """
    match = _REMOTE.fullmatch(remote)
    if match is None or not any(site in match["host"] for site in ("github", "gitlab")):
        return None
    return f"https://{match['host']}/{match['path']}"


def with_source_links(
    assets: Sequence[dg.AssetsDefinition | dg.SourceAsset],
) -> list[dg.AssetsDefinition | dg.SourceAsset]:
    """Return the assets, each with a reference to its function."""
    linked = dg.with_source_code_references(assets)
    here = Path(__file__).resolve()
    package = here.parents[1]
    address = web_address(ask_git(package, "config", "--get", "remote.origin.url") or "")
    commit = ask_git(package, "rev-parse", "HEAD") if address else None
    if address and commit:
        linked = dg.link_code_references_to_git(
            linked,
            git_url=address,
            git_branch=commit,
            file_path_mapping=dg.AnchorBasedFilePathMapping(
                local_file_anchor=here,
                file_anchor_path_in_repository=here.relative_to(package.parent).as_posix(),
            ),
        )
    return [asset for asset in linked if isinstance(asset, dg.AssetsDefinition | dg.SourceAsset)]
