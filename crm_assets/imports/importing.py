"""Makes a baseline of a past results file: scored again here, with its own verdicts for comparison."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crm_assets.atlas.plan import SessionPlan
from crm_assets.conversations import load_conversations
from crm_assets.database import a_command, hold
from crm_assets.errors import InputError
from crm_assets.harness.alignment import NotRecorded, turns_to_score
from crm_assets.imports.annotate import mark_imported
from crm_assets.imports.inspect_log import as_results_file
from crm_assets.records import ImportedFile
from crm_assets.records.past import PastResults
from crm_assets.workspace.baseline_files import BaselinePaths, release_run
from crm_assets.workspace.datasets import require_dataset
from crm_assets.workspace.files import atomic_writer, read_json, sha256_of_file, write_json
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["Coverage", "ImportedRun", "import_run"]


_SCORED = ("dataset_revision", "atlas_tasks", "atlas_sessions")
_SESSIONS = "atlas_sessions"
_CHECK = "sessions_match_tasks"


@dataclass(frozen=True)
class Coverage:
    """The overlap of a results file and a dataset."""

    lines: int
    """Results in the file."""
    repeated: int
    """Of these, earlier results of a conversation that stands there again: the last one counts."""
    shared: int
    """Conversations that both have."""
    not_scored: dict[str, int]
    """Of these, conversations without anything to score, by reason (see `harness.alignment`)."""
    not_scored_examples: tuple[str, ...]
    """Why, for some of them: a sentence each."""
    unreadable_arguments: int
    """Calls in the scored conversations whose arguments are a text that is not a JSON object."""
    not_in_file: int
    """Conversations of the dataset that the file lacks."""
    not_in_dataset: int
    """Conversations of the file that the dataset lacks."""
    not_in_dataset_examples: tuple[str, ...]
    """Some of them."""


@dataclass(frozen=True)
class ImportedRun:
    """A baseline made of a results file."""

    paths: BaselinePaths
    coverage: Coverage
    verdicts: dict[str, dict[str, int]]
    """The file's verdicts against ours (see `mark_imported`)."""


def import_run(project: Project, file: Path, key: BaselineKey) -> ImportedRun:
    """Make baseline `key` of the past results in `file`, under Dagster; a stopped import is resumed.

    Raises:
        InputError: the file holds no results, none of the dataset's conversations, it is a log of Inspect
            and Inspect is not installed, or the baseline is there already.
        InUse: somebody else works on the baseline.
        InfrastructureError: a database or the disk failed; the same call resumes.
    """
    with as_results_file(file) as results:
        return _import_results(project, results, key)


def _import_results(project: Project, file: Path, key: BaselineKey) -> ImportedRun:
    source = PastResults(file)
    coverage = _coverage(source, require_dataset(project, key.dataset))
    paths = BaselinePaths.of(project, key)
    with hold(project, paths.folder, a_command()):
        verdicts = _import(project, paths, source, coverage)
    return ImportedRun(paths, coverage, verdicts)


def _import(
    project: Project, paths: BaselinePaths, source: PastResults, coverage: Coverage
) -> dict[str, dict[str, int]]:
    copy = paths.imported
    _refuse_others(paths, copy, source)
    try:
        _keep(source.path, copy)
        write_json(_early(paths), _imported(paths, source).model_dump())
        return _materialize(project, paths, source, coverage)
    except BaseException:
        if not paths.tasks.exists() and not paths.has_sessions:
            _withdraw(project, paths, copy)
        raise


def _coverage(source: PastResults, dataset: Path) -> Coverage:
    wanted: set[str] = set()
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    unreadable = 0
    for conversation in load_conversations(dataset):
        wanted.add(conversation.conversation_id)
        past = source.read(conversation.conversation_id)
        if past is None:
            continue
        turns = turns_to_score(conversation, past)
        if isinstance(turns, NotRecorded):
            reasons[turns.reason] += 1
            examples.setdefault(turns.reason, turns.sentence)
        else:
            unreadable += sum(isinstance(turn.arguments, str) for turn in turns.values())
    shared = source.conversations & wanted
    if not shared:
        raise InputError(
            f"{source.path} holds none of the {len(wanted):,} conversations of {dataset}: choose the "
            "dataset that it was run on."
        )
    if reasons["other_turns"] == len(shared):
        raise InputError(f"{source.path} was run on another dataset: {examples['other_turns']}")
    strange = sorted(source.conversations - wanted)
    return Coverage(
        lines=source.lines,
        repeated=source.lines - len(source.conversations),
        shared=len(shared),
        not_scored=dict(sorted(reasons.items())),
        not_scored_examples=tuple(examples.values()),
        unreadable_arguments=unreadable,
        not_in_file=len(wanted - source.conversations),
        not_in_dataset=len(strange),
        not_in_dataset_examples=tuple(strange[:3]),
    )


def _refuse_others(paths: BaselinePaths, copy: Path, source: PastResults) -> None:
    """Refuse a run that holds anything but this import, stopped."""
    if copy.is_file() and sha256_of_file(copy) != source.sha256:
        raise InputError(
            f"Run {paths.key.run} of dataset {paths.key.dataset} is the import of another file; choose "
            "another run key."
        )
    paths.protect(overwrite=False)
    if paths.begun and not copy.is_file():
        raise InputError(
            f"Run {paths.key.run} of dataset {paths.key.dataset} has sessions that are no import; choose "
            "another run key."
        )


def _keep(source: Path, copy: Path) -> None:
    if not copy.is_file():
        with atomic_writer(copy) as target, source.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                target.write(chunk)


def _withdraw(project: Project, paths: BaselinePaths, copy: Path) -> None:
    """Remove an import that failed before any session ran."""
    copy.unlink(missing_ok=True)
    _early(paths).unlink(missing_ok=True)
    paths.revision.unlink(missing_ok=True)
    with suppress(OSError):
        paths.folder.rmdir()
    release_run(project, paths.key)


def _materialize(
    project: Project, paths: BaselinePaths, source: PastResults, coverage: Coverage
) -> dict[str, dict[str, int]]:
    from crm_assets.orchestration.materialize import (  # noqa: PLC0415  (Dagster takes two seconds)
        STAGES,
        LineageOptions,
        materialize_on,
        open_instance,
        refresh_history,
    )

    plan = SessionPlan(agent="recorded", recorded=paths.imported)
    options = LineageOptions(plan=plan)
    with open_instance(project) as instance:
        if not paths.has_sessions:
            materialize_on(instance, project, paths.key, options, stages=_SCORED)
        verdicts = mark_imported(paths, source, _imported(paths, source))
        _write_summary(paths, source, coverage, verdicts)
        _report(instance, project, paths, source, coverage=coverage, verdicts=verdicts)
        rest = [name for name in STAGES if name not in _SCORED]
        materialize_on(instance, project, paths.key, options, stages=rest)
        refresh_history(instance, paths.key.dataset)
    return verdicts


def _imported(paths: BaselinePaths, source: PastResults) -> ImportedFile:
    return ImportedFile(file=_name_of(paths, source), sha256=source.sha256, format=source.format)


def _name_of(paths: BaselinePaths, source: PastResults) -> str:
    """Return the name of the file when the import started."""
    known = (summary for summary in (paths.coverage, _early(paths)) if summary.is_file())
    return next((str(read_json(summary)["file"]) for summary in known), source.path.name)


def _early(paths: BaselinePaths) -> Path:
    """Return the file that says what is imported until `import.json` does; no part of the baseline."""
    return paths.coverage.with_name(f"{paths.coverage.name}.partial")


def _write_summary(
    paths: BaselinePaths, source: PastResults, coverage: Coverage, verdicts: dict[str, dict[str, int]]
) -> None:
    write_json(
        paths.coverage,
        {
            "schema_version": 1,
            **_imported(paths, source).model_dump(),
            **asdict(source.origin),
            "coverage": asdict(coverage),
            "verdicts": verdicts,
        },
    )
    _early(paths).unlink(missing_ok=True)


def _report(
    instance: dg.DagsterInstance,
    project: Project,
    paths: BaselinePaths,
    source: PastResults,
    *,
    coverage: Coverage,
    verdicts: dict[str, dict[str, int]],
) -> None:
    """Record in Dagster the sessions as they are now, and the check that each task has one."""
    import dagster as dg  # noqa: PLC0415

    from crm_assets.audit.integrity import find_session_mismatch  # noqa: PLC0415
    from crm_assets.defs.partitions import register  # noqa: PLC0415
    from crm_assets.defs.records import DATA_VERSION, PROJECT  # noqa: PLC0415  (loads Dagster)

    partition = register(instance, paths.key)
    digest = sha256_of_file(paths.sessions)
    imported = _imported(paths, source)
    counts = {name: count for name, count in asdict(coverage).items() if isinstance(count, int)}
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            asset_key=_SESSIONS,
            partition=partition,
            description=f"Imported from {imported.file}, and scored again.",
            metadata={
                "path": dg.MetadataValue.path(str(paths.sessions)),
                "sha256": digest,
                PROJECT: project_id(project),
                "bytes": paths.sessions.stat().st_size,
                "agent": "recorded",
                "imported_file": imported.file,
                "imported_sha256": imported.sha256,
                "imported_format": imported.format,
                "imported_model": source.origin.model or "unknown",
                **counts,
                "not_scored": dg.MetadataValue.json(coverage.not_scored),
                "verdicts": dg.MetadataValue.json(verdicts),
            },
            tags={DATA_VERSION: digest, "dagster/data_version_is_user_provided": "true"},
        )
    )
    verdict = find_session_mismatch(paths)
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(_SESSIONS),
            check_name=_CHECK,
            passed=verdict.problem is None,
            description=verdict.problem,
            metadata={"compared": dg.MetadataValue.int(verdict.compared)},
            blocking=True,
            partition=partition,
        )
    )
