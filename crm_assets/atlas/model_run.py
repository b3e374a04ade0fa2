"""Runs of language models over tasks: the whole Atlas loop, or its student alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import orjson

from crm_assets.atlas.header import run_header
from crm_assets.atlas.model_facts import ModelRun, describe_models
from crm_assets.atlas.model_requirements import require_possible
from crm_assets.atlas.model_runners import ModelRunners
from crm_assets.atlas.playbook import registry_key
from crm_assets.atlas.repeated_run import replayed_run
from crm_assets.atlas.run_playbook import begin_playbook, finish_playbook, read_run_playbook
from crm_assets.atlas.task_run import BudgetPart, Taking, TaskRun
from crm_assets.atlas.tool_mode import find_tool_mode
from crm_assets.concurrency import run_interruptible
from crm_assets.database import Databases, read_environment
from crm_assets.engine import (
    Limits,
    OnProgress,
    ProgressReporter,
    RunSummary,
    SessionCounts,
    Work,
    WorkItem,
    ledger_key,
    run_work,
)
from crm_assets.errors import InputError
from crm_assets.llm import (
    Budget,
    Ledger,
    ModelClient,
    ModelSpec,
    ProviderLimits,
    RecordingModels,
    ReplayModels,
    RequestLog,
    Role,
    Spending,
    answers_by_model,
    ledger_totals,
    make_redactor,
)
from crm_assets.llm.spending import Charge
from crm_assets.records import RunHeader
from crm_assets.records.estimate import CostEstimate
from crm_assets.workspace.baseline_files import RunFiles, sidecar_of
from crm_assets.workspace.files import write_json
from crm_assets.workspace.identity import project_id
from crm_assets.workspace.project import Project

__all__ = ["ModelTaskRun", "require_models", "run_models"]


def run_models(
    files: RunFiles,
    run: ModelRun,
    *,
    project: Project,
    databases: Databases,
    dataset: str,
    progress: OnProgress | None = None,
    estimate: CostEstimate | None = None,
) -> RunSummary:
    """Run the tasks of a run with language models.

    Its sessions appear when all have finished or the budget is spent. Until then finished sessions are kept
    beside them and a second call resumes there; of a session that was interrupted, the calls that were
    answered are not paid for again.

    Args:
        files: of the run.
        run: which models, and how much.
        project: where keys and the dataset are.
        databases: where the sandboxes and the telemetry are.
        dataset: its name.
        progress: called a few times a second.
        estimate: of the run's cost; a run that goes on keeps that of its beginning.

    Raises:
        ConfigError: a model cannot be asked (no key), or has no known price with a budget in dollars; or
            the Atlas SDK is to drive and is not installed, or does not take the configuration.
        InputError: the tasks cannot be read, or the sessions so far are of another run.
        InfrastructureError: a database or the disk failed for good; what is done is kept; or most
            sessions were lost to such failures.
        UnfinishedError: the budget was spent before most sessions had run.
    """
    task_run = ModelTaskRun(files, project, databases, dataset, run, estimate)
    return task_run.run(Taking(progress=progress))


@dataclass
class ModelTaskRun(TaskRun):
    """A run of language models; in its phases as `run_models`, and it raises the same."""

    checked = True

    model_run: ModelRun
    estimate: CostEstimate | None = None
    """Of its cost; a run that goes on keeps that of its beginning."""
    _spending: Mapping[Role, Spending] | None = None
    """Of the whole run, once it was taken here."""

    def __post_init__(self) -> None:
        self.model_run = replace(self.model_run, project=project_id(self.project), folder=self.project.root)

    @property
    def epochs(self) -> int:
        """Return the number of times that each task is run."""
        return self.model_run.plan.epochs

    @property
    def in_order(self) -> bool:
        """Tell whether sessions of one learning key wait for each other."""
        return self.model_run.in_order

    @property
    def _telemetry(self) -> str:
        return self.databases.telemetry_for(self.model_run.config.config.storage.database_url)

    def with_key(self, item: WorkItem) -> WorkItem:
        """Return an item with the learning key under which its namespace is kept."""
        run = self.model_run
        override = run.config.config.adaptive_teaching.learning_key_override
        return item._replace(learning_key=registry_key(run.namespace, override or item.learning_key))

    def header(self) -> RunHeader:
        """Return what all sessions have in common."""
        run = self.model_run
        header = run_header(
            self.files,
            self.project,
            self.dataset,
            self.databases,
            describe_models(run),
            config=run.config.path,
            settings=run.config.settings,
            judged=run.config.config.agent.use_llm_judge,
            replay_of=None if run.replay is None else replayed_run(self.project, run.replay),
        )
        return header.model_copy(update={"estimate": _first_estimate(self.files, self.estimate)})

    def prepare(self) -> None:
        """Note the playbook that the run starts from, once it is known that the run can be."""
        require_possible(self.model_run)
        self.require_models()
        begin_playbook(self.files, self.model_run, self._telemetry, self.items)

    def settle(self) -> None:
        """Find out how the student's model is shown its tools, once for all shards."""
        if self.model_run.config.config.agent.tool_mode == "auto":
            first = [next(self.items())]
            with Ledger(self.files.ledger) as ledger, self._request_log(self.files) as requests:
                models_of = self._models_of(ledger, requests, first)
                self.model_run = _with_tool_mode(self.model_run, ledger, models_of, first, None)

    def join(self, begun: RunHeader) -> None:
        """Take the tool mode that was found out when the run began."""
        found = (begun.agent or {}).get("tool_mode")
        if self.model_run.config.config.agent.tool_mode == "auto" and found in ("native", "text"):
            config = self.model_run.config.with_tool_mode(found)
            self.model_run = replace(self.model_run, config=config)

    def require_models(self) -> None:
        """Check that its models can be asked; none is."""
        require_models(self.model_run, self.project)

    def take_items(self, files: RunFiles, items: Sequence[WorkItem], taking: Taking) -> RunSummary:
        """Run the sessions of some items that `files` do not hold yet."""
        with self._open_ledger(files, items) as ledger, self._request_log(files) as requests:
            models_of = self._models_of(ledger, requests, items)
            run = _with_tool_mode(self.model_run, ledger, models_of, items, taking.progress)
            self.model_run = run
            header = self.header()
            models = models_of(run, part=taking.budget)
            summary = run_work(
                Work(
                    items,
                    self.source(),
                    ModelRunners(run, models, self.project, self.databases, self.dataset, header.replay_of),
                    in_order=run.in_order,
                    # Not where a budget may end the run: what was done by then would be the long ones.
                    longest_first=not run.plan.has_budget,
                ),
                files.partial,
                databases=self.databases,
                identity=header.identity(),
                facts=header.facts(),
                limits=Limits(concurrency=run.plan.sessions_at_a_time, seconds=taking.seconds),
                progress=taking.progress,
                stop=taking.stop,
            )
            if files is self.files:
                self._spending = ledger.by_role()
        return summary

    def _request_log(self, files: RunFiles) -> AbstractContextManager[RequestLog | None]:
        """Return what records requests; None for a replay, which makes none."""
        if self.model_run.replay is not None:
            return nullcontext()
        return RequestLog(files.requests, make_redactor(read_environment(self.project)))

    def _models_of(
        self, ledger: Ledger, requests: RequestLog | None, items: Sequence[WorkItem]
    ) -> Callable[..., RecordingModels]:
        return partial(_models, ledger=ledger, requests=requests, project=self.project, items=items)

    def _open_ledger(self, files: RunFiles, items: Sequence[WorkItem]) -> Ledger:
        if files is self.files:
            return Ledger(files.ledger)
        return Ledger(
            files.ledger, before=self.files.ledger, sessions={_ledger_key(item) for item in items}
        )

    def spent(self) -> Charge:
        """Return what the run has cost so far, as budgets count it; nothing where there is no budget."""
        if not self.model_run.plan.has_budget or not self.files.ledger.is_file():
            return Charge()
        with Ledger(self.files.ledger) as ledger:
            return ledger.counted().amount

    def complete(self) -> Mapping[Role, Spending]:
        """Note who answered, and what the run left in the playbook; returns the costs by role."""
        spending = self._spending if self._spending is not None else ledger_totals(self.files.ledger)
        notes: dict[str, Any] = {"answered_by": answers_by_model([Spending.total(spending.values())])}
        if self.model_run.uses_playbook:
            begun = read_run_playbook(self.files)
            used = finish_playbook(self.files, self.model_run, self._telemetry, begun, self.items)
            notes["playbook"] = used.model_dump()
        _note(self.files, notes)
        return spending


def _first_estimate(files: RunFiles, estimate: CostEstimate | None) -> CostEstimate | None:
    """Return the estimate that the run began with: `estimate`, if it begins now."""
    sidecar = sidecar_of(files.partial)
    if not files.partial.exists() or not sidecar.is_file():
        return estimate
    return RunHeader.model_validate_json(sidecar.read_bytes()).estimate


def _note(files: RunFiles, notes: Mapping[str, Any]) -> None:
    """Put into run.json what is known after the run; a resumed run need not have it in common."""
    sidecar = sidecar_of(files.partial)
    write_json(sidecar, {**orjson.loads(sidecar.read_bytes()), **notes})


def _with_tool_mode(
    run: ModelRun,
    ledger: Ledger,
    models_of: Callable[[ModelRun], RecordingModels],
    items: Sequence[WorkItem],
    progress: OnProgress | None,
) -> ModelRun:
    """Return the run with a tool mode that is found out; the first session pays for the question."""
    agent = run.config.config.agent
    if agent.tool_mode != "auto" or not items:
        return run

    models = models_of(run)

    async def find() -> Literal["native", "text"]:
        reporter = ProgressReporter(
            SessionCounts(),
            len(items),
            callback=progress,
            spent=ledger.total,
            activity=lambda: models.progress,
        )
        try:
            async with reporter.watching():
                return await find_tool_mode(models, _ledger_key(items[0]), agent)
        finally:
            await models.aclose()

    return replace(run, config=run.config.with_tool_mode(run_interruptible(find(), models.stop)))


def _ledger_key(item: WorkItem) -> str:
    return ledger_key(item.task_id.rpartition("::")[0], item.epoch)


def _models(
    run: ModelRun,
    ledger: Ledger,
    requests: RequestLog | None,
    project: Project,
    items: Sequence[WorkItem],
    *,
    part: BudgetPart | None = None,
) -> RecordingModels:
    """Return the models that all roles ask, within `part` of the budget if there is one."""
    if run.replay is not None:
        if run.replay.resolve() == (ledger.path.resolve() if ledger.path else None):
            raise InputError(f"{run.replay} is this run's own ledger; replay it into another run.")
        return ReplayModels(run.replay, ledger=ledger)
    config, plan = run.config.config, run.plan
    require_models(run, project)
    budget = Budget(plan.budget_usd, plan.budget_tokens)
    if part is not None:
        budget = budget.part(part.share, Charge(part.spent_tokens, part.spent_nano), ledger.before)
    return ModelClient(
        read_environment(project),
        ledger=ledger,
        requests=requests,
        limits={name: ProviderLimits(**limits.model_dump()) for name, limits in config.limits.items()},
        budget=budget,
        turns={_ledger_key(item): item.turns for item in items},
    )


def require_models(run: ModelRun, project: Project) -> None:
    """Check, before anything is made, that the models of a run can be asked.

    Raises:
        ConfigError: a key is missing, or a budget in dollars meets a model of unknown price.
    """
    if run.replay is None:
        budget = Budget(run.plan.budget_usd, run.plan.budget_tokens)
        ModelClient(read_environment(project), budget=budget).require(_asked(run))


def _asked(run: ModelRun) -> list[ModelSpec]:
    """Return the models that the run may ask: only these need a key."""
    config, named = run.config.config, run.config.models()
    if run.plan.agent == "student":
        roles = ["student", *(["judge"] if config.agent.use_llm_judge else [])]
        return [named[role] for role in roles if role in named]
    unasked = {
        "learner": run.config.learning_mode != "on",
        "teacher": config.orchestration.forced_mode == "auto",
        "probe": config.orchestration.forced_mode is not None,
    }
    return [spec for role, spec in named.items() if not unasked.get(role, False)]
