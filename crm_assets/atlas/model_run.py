"""Sessions of language models: the whole Atlas loop over a run's tasks, or its student alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, Literal

from crm_assets.atlas.config_file import LoadedConfig
from crm_assets.atlas.flows import AtlasFlow, StudentFlow
from crm_assets.atlas.run import RunOptions, SessionFlow, run_tasks
from crm_assets.atlas.sdk import SdkFlow, require_sdk
from crm_assets.atlas.session import SessionWorker
from crm_assets.atlas.sessions import require_tasks, run_facts, run_identity
from crm_assets.atlas.store import (
    LiveStore,
    RecordedStore,
    SessionStore,
    recorded_start,
    session_start_time,
)
from crm_assets.atlas.student_prompt import prompt_sha256
from crm_assets.atlas.tasks import task_lines
from crm_assets.atlas.telemetry import TelemetryStore
from crm_assets.crm import TOOLS, SandboxPool
from crm_assets.database import Databases, read_environment
from crm_assets.engine import BatchSummary, Progress
from crm_assets.engine.batch import default_workers
from crm_assets.errors import InputError
from crm_assets.harness import AgentSpec, ConversationRunner, make_agent
from crm_assets.llm import (
    Budget,
    Ledger,
    ModelClient,
    ModelSpec,
    ProviderLimits,
    RecordingModels,
    ReplayModels,
    make_redactor,
)
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.project import Project

__all__ = ["Loop", "ModelRun", "describe_run", "run_models"]

Loop = Literal["atlas", "student"]
"""`student`: the student alone, which is what the loop is compared with."""

_SHORT = 12
_FEW_SESSIONS = 24
_MOST_PROCESSES = 4


@dataclass(frozen=True)
class ModelRun:
    """What is to be run, by which models, and how much of it."""

    config: LoadedConfig
    loop: Loop = "atlas"
    options: RunOptions = field(default_factory=RunOptions)
    replay: Path | None = None
    """The ledger of a recorded run over the same tasks: nobody is asked, nothing is stored but files."""

    @property
    def by_sdk(self) -> bool:
        """Whether the Atlas SDK drives the loop."""
        return self.loop == "atlas" and self.config.config.engine == "sdk"

    @property
    def in_order(self) -> bool:
        """Whether sessions of one learning key wait for each other."""
        return self.loop == "atlas" and self.config.learning_mode == "on"


def describe_run(run: ModelRun) -> dict[str, Any]:
    """Who works, and whatever can change what comes of it; part of every session and the run's identity."""
    config = run.config.config
    atlas = run.loop == "atlas"
    roles = run.config.models()
    prompts = {"student": prompt_sha256(config.agent)[:_SHORT]}
    facts: dict[str, Any] = {
        "name": config.agent.name,
        "type": config.agent.type,
        "loop": run.loop,
        "model": config.agent.llm.name,
        "offline": run.config.offline,
        "tool_mode": config.agent.tool_mode,
        "use_llm_judge": config.agent.use_llm_judge,
        "epochs": run.options.epochs,
        "config_sha256": run.config.sha256[:_SHORT],
    }
    if atlas:
        facts |= {
            "models": {name: spec.name for name, spec in roles.items()},
            "mode": config.orchestration.forced_mode or "adaptive",
            "max_retries": config.orchestration.max_retries,
            "learning": run.config.learning_mode,
            "feedback": config.feedback,
        }
    if run.by_sdk:
        facts["engine"] = f"arc-atlas {require_sdk()}"  # whose prompts these are, too
    elif atlas:
        prompts |= _prompts()
    return {**facts, "prompts": prompts}


@cache
def _prompts() -> dict[str, str]:
    """Hashes of the modules that hold the roles' prompts: another text, another run."""
    places = {
        "probe": ("crm_assets.atlas", "modes.py"),
        "teacher": ("crm_assets.atlas", "teacher.py"),
        "judge": ("crm_assets.atlas", "reward_prompts.py"),
        "learner": ("crm_assets.atlas", "learning.py"),
        "pamphlet": ("crm_assets.atlas.playbook", "pamphlet.py"),
    }
    return {
        role: hashlib.sha256((package_files(package) / name).read_bytes()).hexdigest()[:_SHORT]
        for role, (package, name) in places.items()
    }


def run_models(
    files: RunFiles,
    run: ModelRun,
    *,
    project: Project,
    databases: Databases,
    dataset: str,
    progress: Callable[[Progress], None] | None = None,
) -> BatchSummary:
    """Work off the tasks of a run; its sessions appear when all are through or the budget is spent.

    Until then finished sessions are kept beside them and a second call goes on from there; of a session
    that was interrupted, the calls that were answered are not paid for again.

    Raises:
        ConfigError: a model cannot be asked (no key), or has no known price with a budget in dollars; or
            the Atlas SDK is to drive and is not installed, or does not take the configuration.
        InputError: the tasks cannot be read, or what is there is of another run.
        InfrastructureError: a database or the disk failed for good; what is done is kept.
    """
    require_tasks(files)
    if run.by_sdk and run.replay is not None:
        raise InputError("A replay asks nobody, and so needs no engine: leave engine: sdk out of it.")
    description = describe_run(run)
    facts = run_facts(files, project, dataset, databases, description, config=run.config.path)
    with Ledger(files.ledger) as ledger:
        models = _models(run, ledger, project)

        def make_flow(pool: SandboxPool, stack: AsyncExitStack) -> SessionFlow:
            stack.push_async_callback(models.aclose)
            return _flow(run, models, pool, stack, _Place(project, dataset, databases, facts))

        return run_tasks(
            files,
            make_flow,
            databases=databases,
            identity=run_identity(files, description),
            options=run.options,
            in_order=run.in_order,
            learning_key_override=run.config.config.adaptive_teaching.learning_key_override,
            progress=progress,
        )


@dataclass(frozen=True)
class _Place:
    """Where a run happens."""

    project: Project
    dataset: str
    databases: Databases
    facts: Mapping[str, Any]


def _models(run: ModelRun, ledger: Ledger, project: Project) -> RecordingModels:
    """Whom all roles ask."""
    if run.replay is not None:
        if run.replay.resolve() == (ledger.path.resolve() if ledger.path else None):
            raise InputError(f"{run.replay} is this run's own ledger; replay it into another run.")
        return ReplayModels(run.replay, ledger=ledger)
    config, options = run.config.config, run.options
    client = ModelClient(
        read_environment(project),
        ledger=ledger,
        limits={name: ProviderLimits(**limits.model_dump()) for name, limits in config.limits.items()},
        budget=Budget(options.budget_usd, options.budget_tokens),
        processes=_model_processes(run, ledger),
    )
    client.require(_asked(run))
    return client


def _model_processes(run: ModelRun, ledger: Ledger) -> int:
    """Processes that litellm runs in: for a few sessions, starting them would cost more than they save."""
    if run.options.model_processes is not None:
        return run.options.model_processes
    tasks = RunFiles(ledger.path.parent).tasks if ledger.path else None
    sessions = sum(1 for _ in task_lines(tasks)) * run.options.epochs if tasks else 0
    return 0 if sessions < _FEW_SESSIONS else min(_MOST_PROCESSES, default_workers())


def _asked(run: ModelRun) -> list[ModelSpec]:
    """The models that the run may ask: of these alone a key is needed."""
    config, named = run.config.config, run.config.models()
    if run.loop == "student":
        roles = ["student", *(["judge"] if config.agent.use_llm_judge else [])]
        return [named[role] for role in roles]
    unasked = {
        "learner": run.config.learning_mode != "on",
        "teacher": config.orchestration.forced_mode == "auto",
        "probe": config.orchestration.forced_mode is not None,
    }
    return [spec for role, spec in named.items() if not unasked.get(role, False)]


def _flow(
    run: ModelRun, models: RecordingModels, pool: SandboxPool, stack: AsyncExitStack, place: _Place
) -> SessionFlow:
    config = run.config.config
    runner = ConversationRunner(
        pool, make_agent(AgentSpec("noop")), database_is_local=place.databases.sandbox_is_local
    )
    total = models.ledger.total
    facts = place.facts
    if run.loop == "student":
        started = partial(session_start_time if run.replay is None else recorded_start, models)
        return StudentFlow(run.config, models, runner, started=started, total=total, facts=facts)
    if run.by_sdk:
        return _sdk_flow(run, models, runner, stack, place)
    worker = SessionWorker(
        config,
        run.config.learning_mode,
        models,
        runner,
        handles={tool.name: tool.description for tool in TOOLS.values()},
    )
    store = _store(run, models, stack, place)
    return AtlasFlow(run.config, models, worker, store, dataset=place.dataset, total=total, facts=facts)


def _store(run: ModelRun, models: RecordingModels, stack: AsyncExitStack, place: _Place) -> SessionStore:
    if run.replay is not None:
        return RecordedStore(models)
    config = run.config.config
    telemetry = _telemetry(run, stack, place)
    history = max(config.learning.history_limit, config.adaptive_teaching.probe.evidence_limit)
    return LiveStore(telemetry, models, history=history, window=config.runtime_safety.drift.window)


def _sdk_flow(
    run: ModelRun,
    models: RecordingModels,
    runner: ConversationRunner,
    stack: AsyncExitStack,
    place: _Place,
) -> SessionFlow:
    return SdkFlow(
        run.config,
        models,
        runner,
        _telemetry(run, stack, place),
        stack,
        address=place.databases.telemetry_for(run.config.config.storage.database_url),
        dataset=place.dataset,
        redact=make_redactor(read_environment(place.project)),
        total=models.ledger.total,
        facts=place.facts,
    )


def _telemetry(run: ModelRun, stack: AsyncExitStack, place: _Place) -> TelemetryStore:
    storage = run.config.config.storage
    telemetry = stack.enter_context(
        TelemetryStore(
            place.databases.telemetry_for(storage.database_url),
            min_connections=storage.min_connections,
            max_connections=storage.max_connections,
            statement_timeout_seconds=storage.statement_timeout_seconds,
        )
    )
    telemetry.close_orphans()
    return telemetry
