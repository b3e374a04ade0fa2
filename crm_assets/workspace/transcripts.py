"""Where the transcripts of a project's runs are shown: addresses of `crm-assets view`."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from crm_assets.workspace.keys import BaselineKey

__all__ = ["VIEW_HOST", "VIEW_PORT", "transcripts_path", "transcripts_url", "viewer_place"]

VIEW_HOST: Final = "127.0.0.1"
VIEW_PORT: Final = 7580
"""The port that links in pages and in Dagster's UI lead to; `crm-assets ui` serves there, too."""


def transcripts_path(key: BaselineKey, conversation: str | None = None, epoch: int = 1) -> str:
    """Return the path of a run's transcripts, or of one session's, on the server."""
    path = f"/{key.dataset}/{key.run}"
    if conversation is None:
        return path
    return f"{path}/{quote(conversation, safe='')}" + (f"?epoch={epoch}" if epoch > 1 else "")


def transcripts_url(key: BaselineKey, conversation: str | None = None, epoch: int = 1) -> str:
    """Return the address of a run's transcripts, or of one session's, on the usual port."""
    return f"http://{VIEW_HOST}:{VIEW_PORT}{transcripts_path(key, conversation, epoch)}"


def viewer_place(log: str, conversation: str | None = None, epoch: int | str = 1) -> str:
    """Return the place of a log, or of one session in it, within the page of Inspect's viewer."""
    if conversation is None:
        return f"#/tasks/{log}"
    return f"#/logs/{log}/samples/sample/{quote(conversation, safe='')}/{epoch}/"
