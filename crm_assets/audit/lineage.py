"""The origin of a finished baseline, gathered from its files, Dagster and the telemetry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from crm_assets.audit.models import DagsterRecords, FileEntry, Lineage, Scalar
from crm_assets.conversations.revision import read_revision_file
from crm_assets.errors import CrmAssetsError
from crm_assets.records import SessionLog
from crm_assets.reporting.comparison import read_facts
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.manifest import MANIFEST_NAME, baseline_files
from crm_assets.workspace.project import Project

__all__ = ["read_lineage", "session_facts"]

_COMMIT = "crm-assets commit"
_DIRTY = "-dirty"

_Found = TypeVar("_Found")


def read_lineage(
    project: Project,
    paths: BaselinePaths,
    *,
    ask_dagster: Callable[[], DagsterRecords],
    ask_telemetry: Callable[[Path | None], dict[str, int]],
) -> Lineage:
    """Return the origin of the baseline in `paths`; sources that fail are named in `problems`.

    Args:
        project: whose baseline it is.
        paths: of the baseline.
        ask_dagster: returns the records in Dagster's storage.
        ask_telemetry: returns the IDs of the run's sessions in the telemetry database by session key;
            called with the run's configuration, which may name a database.
    """
    problems: list[str] = []

    def ask(question: Callable[[], _Found]) -> _Found | None:
        try:
            return question()
        except CrmAssetsError as error:
            problems.append(str(error))
            return None

    facts = ask(lambda: session_facts(paths)) or {}
    header = ask(lambda: SessionLog(paths.sessions).header) if facts else None
    config_path = facts.get("config_path")
    config = project.root / config_path if isinstance(config_path, str) else None
    is_stored = facts.get("agent.loop") == "atlas"
    commit = facts.get(f"software.{_COMMIT}")
    return Lineage(
        baseline=str(paths.key),
        run_id=paths.key.run_id,
        folder=project.relative(paths.folder),
        dataset=ask(lambda: read_revision_file(paths.revision)),
        agent={
            name: value
            for name, value in _under(facts, "agent").items()
            if not name.startswith(("models.", "prompts.", "imported."))
        },
        models=_under(facts, "agent.models") or _only("student", facts.get("agent.model")),
        prompts=_under(facts, "agent.prompts"),
        config_path=config_path,
        config_sha256=facts.get("agent.config_sha256"),
        software={name: value for name, value in _under(facts, "software").items() if name != _COMMIT},
        git_commit=str(commit).removesuffix(_DIRTY) if commit is not None else None,
        git_dirty=_DIRTY in str(commit) if commit is not None else None,
        imported=_under(facts, "agent.imported") or None,
        playbook=_document(header.playbook if header else None),
        replay_of=_document(header.replay_of if header else None),
        dagster=ask(ask_dagster),
        telemetry_sessions=(ask(lambda: ask_telemetry(config)) if is_stored else None),
        files=_files(paths),
        problems=tuple(problems),
    )


def session_facts(paths: BaselinePaths) -> dict[str, Scalar]:
    """Return what the sessions of a baseline say of their run, by path.

    Raises:
        InputError: a line of them is no session.
    """
    return read_facts(paths.sessions)


def _document(part: BaseModel | None) -> dict[str, Scalar] | None:
    return None if part is None else part.model_dump()


def _under(facts: Mapping[str, Scalar], path: str) -> dict[str, Scalar]:
    prefix = f"{path}."
    return {name.removeprefix(prefix): value for name, value in facts.items() if name.startswith(prefix)}


def _only(name: str, value: Scalar) -> dict[str, Scalar]:
    return {} if value is None else {name: value}


def _files(paths: BaselinePaths) -> tuple[FileEntry, ...]:
    files = dict(baseline_files(paths))
    manifest = paths.manifest
    if manifest.is_file():
        files[MANIFEST_NAME] = manifest
    return tuple(
        FileEntry(name=name, bytes=path.stat().st_size, sha256=sha256_of_file(path))
        for name, path in sorted(files.items())
    )
