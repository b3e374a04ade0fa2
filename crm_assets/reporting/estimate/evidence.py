"""The work of earlier sessions, beside the work expected from the text of their conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.tasks import read_tasks
from crm_assets.errors import InputError
from crm_assets.llm import Role
from crm_assets.records import RunHeader, SessionLog, SessionSummary
from crm_assets.reporting.estimate.workload import Workload, roles_of, workload_of
from crm_assets.reporting.formats import counted
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.datasets import available_datasets
from crm_assets.workspace.project import Project
from crm_assets.workspace.run_names import in_order

__all__ = ["Evidence", "MeasuredSession", "find_evidence"]

_MOST_SESSIONS = 400
"""Enough to know the mean of a session; more would take time to read."""
_PLACES: dict[Role, tuple[tuple[str, ...], ...]] = {
    "student": (("agent", "llm"),),
    "teacher": (("teacher", "llm"),),
    "judge": (("rim", "small_model"),),
    "turn_judge": (("rim", "small_model"),),
    "learner": (("learning", "llm"),),
    "probe": (("adaptive_teaching", "probe", "llm"), ("teacher", "llm")),
}
"""Keys of a role's model in a configuration; the first that is set counts."""


class MeasuredSession(NamedTuple):
    """A session of an earlier run."""

    expected: dict[Role, Workload]
    """By its conversation's text, with one attempt."""
    attempts: int | None
    """Times that the student ran; None if nobody could have sent it back."""
    measured: dict[Role, Workload]
    """The roles whose tokens are all known, and whose model is the one to be asked."""
    cached: dict[Role, int]
    """Tokens of their requests that came from the cache."""
    asked_large_judge: bool


class Evidence(NamedTuple):
    """Sessions of earlier runs."""

    sessions: tuple[MeasuredSession, ...] = ()
    basis: str = "the conversations' text alone"
    same: bool = False
    """All settings were the same, not only the models."""


class _Match(NamedTuple):
    paths: BaselinePaths
    roles: frozenset[Role]
    """The roles with the same model."""
    same: bool
    """All settings are the same."""
    in_loop: bool
    """A teacher could send the student back."""


def find_evidence(project: Project, dataset: str, run: ModelRun) -> Evidence:
    """Return the newest sessions that tell what a run of `dataset` will take.

    Of this configuration if there are any, else of the same models; of this dataset, else of others.
    A run that cannot be read tells nothing.
    """
    here = list(_matches(project, [dataset], run))
    others = [] if any(match.same for match in here) else _others(project, dataset)
    there = list(_matches(project, others, run))
    for same in (True, False):
        for matches in (here, there):
            chosen = [match for match in matches if match.same is same]
            chosen.sort(key=lambda match: -len(match.roles))  # who asked the most of the models
            if (evidence := _read(chosen, run, same=same)).sessions:
                return evidence
    return Evidence()


def _others(project: Project, dataset: str) -> list[str]:
    return [name for name in available_datasets(project) if name != dataset]


def _matches(project: Project, datasets: Sequence[str], run: ModelRun) -> Iterator[_Match]:
    """Yield the runs of `datasets` that asked the same models themselves, newest first."""
    for dataset in datasets:
        for paths in reversed(in_order(project, dataset)):
            if not paths.has_sessions:
                continue
            try:
                header = SessionLog(paths.sessions).header
            except InputError:
                continue  # it is named wherever runs are listed
            if header.imported is not None or header.replay_of is not None or header.settings is None:
                continue
            loop = (header.agent or {}).get("loop")
            same = header.settings == run.config.settings and loop == run.plan.agent
            if roles := frozenset(_same_models(header, run)):
                yield _Match(paths, roles, same, in_loop=loop == "atlas")


def _same_models(header: RunHeader, run: ModelRun) -> Iterator[Role]:
    for role in roles_of(run):
        then, now = _model_in(header.settings or {}, role), _model_in(run.config.settings, role)
        if then == now and now is not None:
            yield role


def _model_in(settings: Mapping[str, Any], role: Role) -> tuple[str, str] | None:
    """Return provider and model of a role in the settings of a run; None if it has none."""
    for place in _PLACES[role]:
        found: Any = settings
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return str(found.get("provider")), str(found.get("model"))
    return None


def _read(matches: Sequence[_Match], run: ModelRun, *, same: bool) -> Evidence:
    sessions: list[MeasuredSession] = []
    names: list[str] = []
    for match in matches:
        found = list(islice(_sessions(match, run), _MOST_SESSIONS - len(sessions)))
        if found:
            sessions += found
            names.append(str(match.paths.key))
        if len(sessions) == _MOST_SESSIONS:
            break
    return Evidence(tuple(sessions), _words(len(sessions), names, same=same), same)


def _sessions(match: _Match, run: ModelRun) -> Iterator[MeasuredSession]:
    try:
        log = SessionLog(match.paths.sessions)
        read = [entry.session for entry in islice(log.summaries(), _MOST_SESSIONS)]
        wanted = {session.conversation_id for session in read if session.status == "succeeded"}
        expected = {}
        for task in read_tasks(match.paths.tasks):
            if task.conversation.conversation_id in wanted:
                expected[task.conversation.conversation_id] = workload_of(task.conversation, run)
            if len(expected) == len(wanted):
                break
    except InputError:
        return
    for session in read:
        if session.status == "succeeded" and session.conversation_id in expected:
            yield _measured(session, expected[session.conversation_id], match)


def _measured(session: SessionSummary, expected: dict[Role, Workload], match: _Match) -> MeasuredSession:
    measured: dict[Role, Workload] = {}
    cached: dict[Role, int] = {}
    reports = session.usage_by_role
    for role in match.roles:
        used = reports.get(role)
        if used is None:
            if match.same:  # a role that was not needed, as a probe without a past, is measured, too
                measured[role] = Workload()
        elif used.prompt_tokens is not None and not used.unknown_usage_calls:
            calls = used.calls if used.calls is not None else expected[role].calls
            measured[role] = Workload(calls, used.prompt_tokens, used.completion_tokens or 0)
            cached[role] = used.cached_tokens or 0
    facts = session.atlas_metadata
    attempts = facts.attempts if match.in_loop else None
    return MeasuredSession(expected, attempts, measured, cached, facts.asked_large_judge)


def _words(sessions: int, runs: Sequence[str], *, same: bool) -> str:
    more = f" and {counted(len(runs) - 1, 'more run')}" if runs[1:] else ""
    whose = "of this configuration" if same else "with the same models"
    return f"{counted(sessions, 'session')} {whose} in {runs[0] if runs else 'no run'}{more}"
