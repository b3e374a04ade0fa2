"""playbook.json: what a run's sessions could read at its start, and what stands there after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic import ValidationError

from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.playbook import Playbook, RunPlaybook, split_registry_key
from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.engine import WorkItem
from crm_assets.errors import InputError, first_line
from crm_assets.records import PlaybookUse
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.files import write_json

__all__ = ["begin_playbook", "finish_playbook", "open_telemetry", "read_run_playbook"]


def open_telemetry(run: ModelRun, address: str) -> TelemetryStore:
    """Return the telemetry store of a run, not entered yet; `address` is its database's."""
    storage = run.config.config.storage
    return TelemetryStore(
        address,
        project=run.project,
        min_connections=storage.min_connections,
        max_connections=storage.max_connections,
        statement_timeout_seconds=storage.statement_timeout_seconds,
    )


def begin_playbook(
    files: RunFiles, run: ModelRun, address: str, items: Callable[[], Iterable[WorkItem]]
) -> RunPlaybook | None:
    """Write the playbook as it is before the run; None for a run that uses none.

    A run that is resumed keeps what it began with.

    Raises:
        InfrastructureError: the telemetry database or the disk failed.
    """
    if not run.uses_playbook:
        return None
    if files.partial.is_file() and files.playbook.is_file():
        return read_run_playbook(files)
    keys = {item.learning_key for item in items()}
    with open_telemetry(run, address) as telemetry:
        before = _of_keys(telemetry.playbook(run.namespace), keys)
        taught = telemetry.taught_conversations(keys) if before.version else set()
    document = RunPlaybook(
        learning="on" if run.config.learning_mode == "on" else "frozen",
        before=before,
        taught_by=len({each for item in items() if (each := item.task_id.rpartition("::")[0]) in taught})
        if taught
        else 0,
    )
    _write(files, document)
    return document


def finish_playbook(
    files: RunFiles,
    run: ModelRun,
    address: str,
    begun: RunPlaybook,
    items: Callable[[], Iterable[WorkItem]],
) -> PlaybookUse:
    """Add the playbook as it is after the run; return what the run's header says of both.

    Raises:
        InfrastructureError: the telemetry database or the disk failed.
    """
    run_id = next(iter(items())).task_id.rpartition("::")[2]
    with open_telemetry(run, address) as telemetry:
        after = _of_keys(telemetry.playbook(run.namespace), {item.learning_key for item in items()})
        waiting = telemetry.waiting_lessons(run_id)
    _write(files, begun.model_copy(update={"after": after, "awaiting_approval": waiting}))
    before = begun.before
    return PlaybookUse(
        namespace=before.namespace,
        entries=before.entries,
        version=before.version,
        sha256=before.sha256,
        taught_by=begun.taught_by,
        entries_after=after.entries,
        version_after=after.version,
        sha256_after=after.sha256,
        awaiting_approval=waiting,
    )


def read_run_playbook(files: RunFiles) -> RunPlaybook:
    """Return what a run's playbook.json holds.

    Raises:
        InputError: it is damaged.
    """
    try:
        return RunPlaybook.model_validate_json(files.playbook.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{files.playbook} is not a run's playbook ({first_line(error)}); start over (--overwrite)."
        ) from error


def _of_keys(playbook: Playbook, registered: set[str]) -> Playbook:
    """Return the part of a playbook that sessions of some registered keys read and write."""
    keys = {split_registry_key(key)[1] for key in registered}
    return playbook.model_copy(
        update={"keys": {key: state for key, state in playbook.keys.items() if key in keys}}
    )


def _write(files: RunFiles, document: RunPlaybook) -> None:
    write_json(files.playbook, document.model_dump(mode="json"))
