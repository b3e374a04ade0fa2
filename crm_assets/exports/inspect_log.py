"""A run as an Inspect log (.eval): its sessions as samples, its facts and figures as the header."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from crm_assets import __version__
from crm_assets.atlas.saved_plan import begun_plan
from crm_assets.errors import InfrastructureError
from crm_assets.exports.flips import flips_against
from crm_assets.exports.inspect_package import require_inspect
from crm_assets.exports.inspect_samples import RunFacts, add_usage, sample_of, shorten
from crm_assets.exports.inspect_scores import SCORES, ScoreTally
from crm_assets.llm.ledger import ledger_span
from crm_assets.records import LoopSession, RunHeader, SessionLog
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["run_facts", "write_beginning", "write_inspect_log"]

_LOG_VERSION: Final = 2
_PLAN: Final = {"name": "crm_assets", "steps": []}
_METRICS: Final = [{"name": "inspect_ai/mean"}, {"name": "inspect_ai/stderr"}]


def write_inspect_log(
    paths: BaselinePaths,
    target: Path,
    *,
    against: BaselinePaths | None = None,
    for_viewer: bool = False,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Write a finished baseline as an Inspect log, in constant memory but for a number a conversation.

    Args:
        paths: of the baseline.
        target: the file, `.eval`; it appears when it is complete.
        against: a run that its conversations are compared with, for the metadata `flip`.
        for_viewer: write what the viewer shows as fast as it can be: summaries without what its list leaves
            out, and a header that Inspect did not load for seconds to check.
        progress: called with the number of samples written so far.

    Returns:
        The number of samples.

    Raises:
        InputError: Inspect is not installed, or a session cannot be read.
        InfrastructureError: the file cannot be written.
    """
    require_inspect()
    writer = _LogWriter(paths, against, short_summaries=for_viewer)
    with _complete(target) as temporary:
        with _archive(temporary) as archive:
            writer.write_start(archive)
            writer.write_samples(archive, SessionLog(paths.sessions).without_traces(), progress)
            writer.write_summaries(archive, "summaries.json")
            if for_viewer:
                archive.writestr("header.json", json.dumps(writer.header()))
        if not for_viewer:
            _write_header(temporary, writer.header())
    return writer.samples


def write_beginning(
    paths: BaselinePaths, target: Path, *, most: int, wanted: str | None = None
) -> frozenset[str]:
    """Write the first sessions of a baseline, as Inspect leaves a log that is still being written.

    Args:
        paths: of the baseline.
        target: the file, `.eval`.
        most: number of sessions.
        wanted: a conversation that is to be there in any case.

    Returns:
        The IDs of its conversations.

    Raises:
        InputError: a session cannot be read.
        InfrastructureError: the file cannot be written.
    """
    log = SessionLog(paths.sessions)
    first = list(itertools.islice(log.without_traces(), most))
    if wanted is not None:
        seen = {session.conversation_id for session in first}
        found = log.search(wanted) if wanted not in seen else iter(())
        first += [log.record(entry.offset) for entry in found if entry.session.conversation_id == wanted]
    writer = _LogWriter(paths, None, short_summaries=True)
    with _complete(target) as temporary, _archive(temporary) as archive:
        writer.write_start(archive)
        writer.write_samples(archive, first, None)
        writer.write_summaries(archive, "_journal/summaries/1.json")
    return frozenset(session.conversation_id for session in first)


def _archive(path: Path) -> zipfile.ZipFile:
    # Inspect's own choice, Zstandard, starts a dozen threads for each member: ten times the CPU time.
    return zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=1)


@contextmanager
def _complete(target: Path) -> Iterator[Path]:
    """Yield a file beside `target` that is moved there when the block ends without an error."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.stem}.", dir=target.parent) as folder:
            temporary = Path(folder) / "log.eval"  # by its ending Inspect knows the format
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, target)
    except OSError as error:
        raise InfrastructureError(
            f"Could not write {target}: {error.strerror or error}; free some space or choose another "
            "folder, then run it again."
        ) from error


def _write_header(log: Path, header: dict[str, Any]) -> None:
    """Let Inspect check the header, and write it into the log."""
    from inspect_ai.log import EvalLog, write_eval_log  # noqa: PLC0415  (takes seconds)

    write_eval_log(EvalLog.model_validate(header), str(log), header_only=True)


class _LogWriter:
    """Writes samples, and gathers meanwhile what the header says of them."""

    def __init__(
        self, paths: BaselinePaths, against: BaselinePaths | None, *, short_summaries: bool
    ) -> None:
        self._paths = paths
        self._short = short_summaries
        self._against = against
        self._header = SessionLog(paths.sessions).header
        self._facts = run_facts(paths, self._header, flips_against(against, paths) if against else None)
        self._tally = ScoreTally()
        self._roles: dict[str, dict[str, Any]] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._conversations: set[str] = set()
        self._completed = 0
        self._summaries = tempfile.TemporaryFile()  # noqa: SIM115  (goes with the writer)
        self.samples = 0

    def write_start(self, archive: zipfile.ZipFile) -> None:
        """Write what is known before any sample, as Inspect does when an evaluation starts."""
        start = {"version": _LOG_VERSION, "eval": self._spec(list(SCORES)), "plan": _PLAN}
        archive.writestr("_journal/start.json", _dump(start))

    def write_samples(
        self,
        archive: zipfile.ZipFile,
        sessions: Iterable[LoopSession],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write sessions as samples."""
        for session in sessions:
            sample = sample_of(session, self._facts)
            name = f"samples/{session.conversation_id}_epoch_{session.epoch}.json"
            archive.writestr(name, _dump(sample.document))
            summary = shorten(sample.summary) if self._short else sample.summary
            self._summaries.write((b"," if self.samples else b"[") + _dump(summary))
            self._count(session.conversation_id, sample.document, sample.values)
            if progress is not None:
                progress(self.samples)

    def write_summaries(self, archive: zipfile.ZipFile, name: str) -> None:
        """Write the summaries of all samples so far."""
        self._summaries.write(b"]" if self.samples else b"[]")
        self._summaries.seek(0)
        with archive.open(name, "w", force_zip64=True) as member:
            shutil.copyfileobj(self._summaries, member, 1 << 20)

    def _count(
        self,
        conversation: str,
        document: Mapping[str, Any],
        values: tuple[tuple[str, float | None], ...],
    ) -> None:
        self.samples += 1
        self._completed += "error" not in document
        self._conversations.add(conversation)
        for name, value in values:
            self._tally.add(name, conversation, value)
        for total, usage in ((self._roles, "role_usage"), (self._models, "model_usage")):
            for name, used in document[usage].items():
                add_usage(total.setdefault(name, {}), used)

    def header(self) -> dict[str, Any]:
        """Return the header, in the shape of `inspect_ai.log.EvalLog`."""
        scores = self._tally.results()
        results: dict[str, Any] = {
            "total_samples": self.samples,
            "completed_samples": self._completed,
            "scores": scores,
        }
        if scores:
            first = scores[0]["name"]
            results["headline"] = {"scorer": first, "score": first, "metric": "mean", "reducer": "mean"}
        return {
            "version": _LOG_VERSION,
            "status": "success",
            "eval": self._spec([score["name"] for score in scores]),
            "plan": _PLAN,
            "results": results,
            "stats": {
                **self._times(),
                "model_usage": self._models,
                "role_usage": self._roles,
            },
        }

    def _times(self) -> dict[str, str]:
        """Return when the run's calls began and ended; a replay's ledger has another run's."""
        own = self._header.replay_of is None and self._paths.ledger.is_file()
        span = ledger_span(self._paths.ledger) if own else None
        if span is None:
            return {"started_at": self._created, "completed_at": ""}
        return {"started_at": span[0].isoformat(), "completed_at": span[1].isoformat()}

    @property
    def _created(self) -> str:
        return self._facts.started

    def _spec(self, scores: list[str]) -> dict[str, Any]:
        key, header = self._paths.key, self._header
        agent = header.agent or {}
        models = _models(agent)
        name = f"{key.dataset}/{key.run}"
        return {
            "eval_id": name,
            "run_id": str(key.run),
            "task_id": name,
            "created": self._created,
            "task": key.dataset,
            "task_version": (header.dataset_revision or "unknown")[:12],
            "dataset": {
                "name": key.dataset,
                "location": header.conversations_path,
                "samples": len(self._conversations) or None,
                "shuffled": False,
            },
            "model": self._facts.model,
            "model_roles": {role: {"model": model} for role, model in models.items()} or None,
            "config": {"epochs": header.epochs, "epochs_reducer": ["mean"]},
            "packages": {"crm_assets": __version__, **header.software},
            "scorers": [{"name": score, "metrics": _METRICS} for score in scores],
            "headline_metric": {"scorer": SCORES[0], "metric": "mean"},
            "metadata": {
                "run": str(key.run),
                "flips_against": str(self._against.key.run) if self._against else None,
                "agent": agent,
                "dataset_revision": header.dataset_revision,
                "tasks_sha256": header.tasks_sha256,
                "code": header.code,
                "replay_of": header.replay_of.model_dump() if header.replay_of else None,
                "imported": header.imported.model_dump() if header.imported else None,
                "subset": header.subset.model_dump(mode="json") if header.subset else None,
            },
        }


def run_facts(paths: BaselinePaths, header: RunHeader, flips: Mapping[str, str] | None = None) -> RunFacts:
    """Return the facts of a run that its samples repeat.

    Raises:
        InputError: plan.json is damaged.
    """
    settings = header.settings or {}
    prompt = (settings.get("agent") or {}).get("system_prompt")
    models = _models(header.agent or {})
    if models.get("arbiter", models.get("judge")) != models.get("judge"):
        models.pop("judge", None)  # the tokens of both are counted as the judge's
    return RunFacts(
        started=paths.key.run.started.isoformat(),
        model=_model(header),
        system_prompt=prompt if isinstance(prompt, str) else None,
        models=models,
        budget=_budget(paths),
        flips=flips or {},
    )


def _model(header: RunHeader) -> str:
    """Return the student's model; of an agent without one its name, as Inspect writes such things."""
    model = (header.agent or {}).get("model")
    return model if isinstance(model, str) else f"none/{header.agent_name or 'unnamed'}"


def _models(agent: Mapping[str, Any]) -> dict[str, str]:
    """Return the model of each role."""
    roles = agent.get("models")
    if isinstance(roles, Mapping):
        return {role: model for role, model in roles.items() if isinstance(model, str)}
    model = agent.get("model")
    return {"student": model} if isinstance(model, str) else {}


def _budget(paths: BaselinePaths) -> tuple[str, float] | None:
    plan = begun_plan(paths)
    if plan is None or (plan.budget_usd is not None and plan.budget_tokens is not None):
        return None  # which of two was spent is not recorded
    if plan.budget_usd is not None:
        return "cost", plan.budget_usd
    return ("token", plan.budget_tokens) if plan.budget_tokens is not None else None


def _dump(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
