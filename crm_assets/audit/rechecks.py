"""Checks of a baseline's files against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from crm_assets.atlas.run_playbook import read_run_playbook
from crm_assets.atlas.tasks import read_tasks
from crm_assets.audit.integrity import find_dataset_change, find_session_mismatch, find_task_mismatch
from crm_assets.audit.recompute import (
    differing_figures,
    differing_lines,
    recompute_metrics,
    recompute_readme,
)
from crm_assets.conversations import DatasetRevision
from crm_assets.conversations.revision import read_revision_file
from crm_assets.errors import CrmAssetsError, InputError
from crm_assets.llm.ledger import ledger_totals
from crm_assets.records import SessionLog
from crm_assets.reporting import Metrics, page_code, read_metrics
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.files import read_json, sha256_of_file
from crm_assets.workspace.manifest import Manifest
from crm_assets.workspace.project import Project

__all__ = ["CannotTell", "Finding", "Rechecks"]

Finding = Callable[[], "str | None"]
"""Looks at something; a sentence if it is wrong, None if it is right."""

_DOLLARS = 1e-6  # what metrics.json rounds to
_SHORT = 12


class CannotTell(Exception):
    """A check needs a file that has failed its own check."""


class Rechecks:
    """The checks. Values that several of them need are computed once."""

    def __init__(
        self, project: Project, paths: BaselinePaths, changed: frozenset[str], manifest: Manifest | None
    ) -> None:
        """Read nothing yet.

        Args:
            project: whose baseline it is.
            paths: its files.
            changed: those that are known not to be as they were written.
            manifest: what the others were when they were written; None if that is unknown.
        """
        self._project = project
        self._paths = paths
        self._changed = changed
        self._intact = manifest is not None
        self._same_code = manifest is None or manifest.written_by == page_code()

    @cached_property
    def _revision(self) -> DatasetRevision:
        self._need(self._paths.revision.name)
        return read_revision_file(self._paths.revision)

    @cached_property
    def _made_again(self) -> Metrics | CrmAssetsError:
        try:
            return recompute_metrics(self._project, self._paths, self._revision)
        except CrmAssetsError as error:
            return error

    @property
    def _metrics(self) -> Metrics:
        """Return the metrics that follow from the sessions."""
        self._need(self._paths.sessions.name)
        self._need(self._paths.run.name)
        if isinstance(self._made_again, Metrics):
            return self._made_again
        raise CannotTell(f"{self._paths.sessions.name} cannot be measured")

    def _need(self, name: str) -> None:
        if name in self._changed:
            raise CannotTell(f"{name} was changed")

    def dataset(self) -> str | None:
        """Return a sentence if the dataset is not the one that was run."""
        revision = self._revision
        problem = find_dataset_change(self._project, self._paths).problem
        if problem and revision.git_commit and revision.git_dirty is False:
            problem = f"{problem.rstrip('.')} (it is in git commit {revision.git_commit[:_SHORT]})."
        return problem

    def tasks(self) -> str | None:
        """Return a sentence if the tasks are not the ones that were run, or not the dataset's."""
        paths = self._paths
        self._need(paths.run.name)
        if sha256_of_file(paths.tasks) != read_json(paths.run)["tasks_sha256"]:
            return "tasks.jsonl was changed since the sessions were run: run.json has another hash of it."
        if self._has_dataset():
            count = sum(1 for _ in read_tasks(paths.tasks))
            return find_task_mismatch(self._project, paths, count).problem
        for task in read_tasks(paths.tasks):  # all that can be said without the old dataset
            if task.dataset_revision != self._revision.sha256:
                return f"Task {task.task_id} was made from another revision of the dataset."
        return None

    def _has_dataset(self) -> bool:
        try:
            return self.dataset() is None
        except InputError:  # it is missing or unreadable, which its own check says
            return False

    def sessions(self) -> str | None:
        """Return a sentence unless each task has one session and all can be measured together."""
        self._need(self._paths.tasks.name)
        self._need(self._paths.run.name)
        if isinstance(self._made_again, CrmAssetsError):
            raise self._made_again
        return find_session_mismatch(self._paths).problem

    def run(self) -> str | None:
        """Return a sentence if run.json names another agent or code than metrics.json or the sessions."""
        self._need(self._paths.metrics.name)
        metrics, document = read_metrics(self._paths.metrics), read_json(self._paths.run)
        agent = {name: said for name, said in (metrics.agent_config or {}).items() if name != "imported"}
        if document["agent"] != agent:
            return "run.json names another agent, or other settings of it, than metrics.json."
        code = metrics.software.get("code")
        if code is not None and not str(document["code"]).startswith(code):
            return f"run.json says code {str(document['code'])[:_SHORT]}, and the sessions ran on {code}."
        return None

    def figures(self) -> str | None:
        """Return a sentence if metrics.json differs from the figures that follow from the sessions."""
        path = self._paths.metrics
        difference = differing_figures(path, self._metrics, exactly=self._same_code)
        return self._explained(path.name, difference)

    def readme(self) -> str | None:
        """Return a sentence if README.md differs from the one that follows from the sessions."""
        path = self._paths.readme
        if not self._same_code:
            raise CannotTell("another version of crm_assets wrote it, so only its hash is")
        self._need(self._paths.metrics.name)  # which says with what versions it was computed
        text = recompute_readme(self._metrics, self._revision)
        return self._explained(path.name, differing_lines(path, text))

    def _explained(self, name: str, difference: str | None) -> str | None:
        if difference is None:
            return None
        if self._intact and name not in self._changed:
            return (
                f"{name} {difference}. It is as it was written, so by another version of crm_assets: "
                "verify with that one, or materialize baseline_metrics and baseline_readme again."
            )
        return f"{name} {difference}."

    def asked_models(self) -> bool:
        """Return True if there is a ledger, or should be one."""
        if self._paths.ledger.is_file():
            return True
        try:
            return bool((self._metrics.agent_config or {}).get("loop"))
        except CannotTell:
            return False

    def ledger(self) -> str | None:
        """Return a sentence if the ledger's sums differ from the sessions'."""
        metrics = self._metrics
        ledger = {str(role): spent for role, spent in ledger_totals(self._paths.ledger).items()}
        for role in sorted({*ledger, *metrics.token_usage}):
            spent, said = ledger.get(role), metrics.token_usage.get(role)
            if spent is None or said is None:
                return f"The role {role} is in the {'ledger' if spent else 'sessions'} alone."
            figures = {
                "prompt tokens": (spent.usage.prompt_tokens, said.prompt_tokens),
                "completion tokens": (spent.usage.completion_tokens, said.completion_tokens),
                "calls": (spent.calls, said.calls),
                "failed calls": (spent.failed_calls, said.failed_calls),
            }
            for name, (here, there) in figures.items():
                if there is not None and here != there:
                    return f"The ledger has {here:,} {name} of {role}, and the sessions have {there:,}."
            cost = metrics.cost_usd.get(role)
            if cost and spent.cost_usd is not None and abs(cost.usd - spent.cost_usd) > _DOLLARS:
                return f"The ledger has ${spent.cost_usd} of {role}, and the sessions have ${cost.usd}."
        return None

    def playbook(self) -> str | None:
        """Return a sentence if playbook.json holds other entries than its hashes or run.json say."""
        self._need(self._paths.run.name)
        document, header = read_run_playbook(self._paths), SessionLog(self._paths.sessions).header
        said = read_json(self._paths.playbook)
        for name, found in (("before", document.before), ("after", document.after)):
            if found is not None and said[name]["sha256"] != found.sha256:
                return f"Its entries {name} the run are not those that its hash names."
        if header.playbook is not None and header.playbook.sha256 != document.before.sha256:
            return "run.json says that the run read another playbook."
        return None

    def imported(self) -> Iterator[tuple[str, str]]:
        """Yield the results file that an imported baseline was made of, and its hash then."""
        try:
            agent = self._metrics.agent_config or {}
        except CannotTell:
            return
        if agent.get("imported"):
            yield str(agent["recorded"]), str(agent["recorded_sha256"])
