"""Measures what the Atlas loop costs: against the ideal, by either client, in the telemetry, in memory.

The models are the offline ones behind HTTP in a process of their own, with a latency for each answer.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

import psutil

from crm_assets.atlas.choices import LearningMode
from crm_assets.atlas.config import LimitConfig
from crm_assets.atlas.config_file import LoadedConfig, load_config
from crm_assets.atlas.model_facts import ModelRun
from crm_assets.atlas.model_run import run_models
from crm_assets.atlas.plan import SessionPlan
from crm_assets.atlas.student_prompt import function_tools, system_prompt
from crm_assets.atlas.tasks import read_tasks, write_tasks
from crm_assets.atlas.telemetry import SessionEnd, SessionStart, TelemetryStore
from crm_assets.database import connect_databases
from crm_assets.engine import learning_key, ledger_key
from crm_assets.llm import (
    Caller,
    ChatReply,
    ChatRequest,
    LedgerEntry,
    Message,
    ModelClient,
    ModelSpec,
    Usage,
    read_ledger,
)
from crm_assets.llm.replies import Completion
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.project import Project

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIG = REPOSITORY / "configs" / "atlas" / "crm_harness.dev.yaml"

_JUDGES_AT_ONCE = 3
_MOST_KEPT = 300


class Stored(NamedTuple):
    """What a session leaves in the telemetry."""

    start: SessionStart
    end: SessionEnd
    merge: Any


class LoopRun(NamedTuple):
    """One run of the loop."""

    sessions: int
    calls: int
    seconds: float
    cpu_seconds: float
    """Of this process and of Postgres."""
    ideal_seconds: float
    """All latency / sessions at a time; with learning on, the longest key's chain."""
    stored: list[Stored]
    """What some of the sessions left in the telemetry."""


@contextmanager
def model_server(latency_ms: float) -> Iterator[str]:
    """The offline models over HTTP; yields the address."""
    script = (
        "from crm_assets.offline_models import serve; "
        f"serve(0, latency_seconds={latency_ms / 1000}, ready=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def run_loop(
    project: Project,
    dataset: Path,
    folder: Path,
    *,
    server: str,
    latency_ms: float,
    learning: LearningMode,
    concurrency: int = 64,
    arm: Arm = "direct",
) -> LoopRun:
    """Take every conversation of `dataset` through the loop in mode paired."""
    files = RunFiles(folder)
    files.folder.mkdir(parents=True)
    run_id = f"{folder.name}-{time.time_ns()}"
    count = write_tasks(dataset, files.tasks, dataset_revision="0" * 64, run_id=run_id)
    config = configuration(server, learning, arm)
    limits = {"openai": LimitConfig(max_connections=concurrency)}
    config = replace(config, config=config.config.model_copy(update={"limits": limits}))
    run = ModelRun(SessionPlan(concurrency=concurrency), config)
    kept: list[Stored] = []
    with _kept_sessions(kept):
        before, started = _cpu(), time.perf_counter()
        summary = run_models(
            files, run, project=project, databases=connect_databases(project), dataset="bench"
        )
        seconds, after = time.perf_counter() - started, _cpu()
    assert summary.infrastructure_errors == 0, summary
    entries = list(read_ledger(files.ledger))
    latency = latency_ms / 1000
    ideal = (
        longest_chain(files, entries, latency) if learning == "on" else len(entries) * latency / concurrency
    )
    return LoopRun(count, len(entries), seconds, after - before, ideal, kept)


def configuration(server: str, learning: LearningMode, arm: Arm = "direct") -> LoadedConfig:
    """The development configuration with every model at `server`, at no price."""
    environment = {"OPENAI_API_KEY": "none"}
    plan = SessionPlan(learning=learning, mode="paired")
    loaded = load_config(CONFIG, environment=environment, plan=plan)
    config = loaded.config
    model = config.agent.llm.model_copy(
        update={
            "api_base": server,
            "client": arm,
            "usd_per_million_prompt_tokens": 0.0,
            "usd_per_million_completion_tokens": 0.0,
        }
    )
    changed = config.model_copy(
        update={
            "agent": config.agent.model_copy(update={"llm": model}),
            "teacher": config.teacher.model_copy(update={"llm": model}),
            "rim": config.rim.model_copy(update={"small_model": model, "large_model": model}),
            "learning": config.learning.model_copy(update={"llm": model}),
        }
    )
    return replace(loaded, config=changed)


def longest_chain(files: RunFiles, entries: list[LedgerEntry], latency: float) -> float:
    """Seconds that the longest learning key's sessions take one after the other, latency alone.

    The three judges of a session are asked at the same time.
    """
    keys = {
        ledger_key(one.conversation_id, 1): learning_key(one.workflow_category, one.complexity_level)
        for one in (task.conversation for task in read_tasks(files.tasks))
    }
    chains: dict[str, float] = defaultdict(float)
    judged: Counter[str] = Counter()
    for entry in entries:
        if entry.role == "judge":
            judged[entry.session] += 1
            if 1 < judged[entry.session] <= _JUDGES_AT_ONCE:
                continue
        chains[keys[entry.session]] += latency
    return max(chains.values())


Arm = Literal["direct", "litellm"]
"""How the client speaks to an OpenAI-compatible server."""


def client_cpu_ms(server: str, calls: int, arm: Arm) -> float:
    """Return CPU milliseconds of one call of the client's, of a student's size, tools included."""
    spec = configuration(server, "off", arm).config.agent.llm
    agent = configuration(server, "off").config.agent
    prompt = system_prompt(agent, pamphlet=None, plan=None, guidance=None)
    messages = (Message("system", prompt), Message("user", "List the quote prefixes."))

    async def ask(count: int) -> None:
        client = ModelClient({"OPENAI_API_KEY": "none"})
        gate = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with gate:
                request = ChatRequest(spec, messages, tools=function_tools())
                await client.complete(Caller(f"s{number}", "student"), request)

        await asyncio.gather(*(one(number) for number in range(count)))
        await client.aclose()

    asyncio.run(ask(8))
    cpu = time.process_time()
    asyncio.run(ask(calls))
    return (time.process_time() - cpu) / calls * 1000


def memory_over_sessions(project: Project, dataset: Path, folder: Path) -> list[tuple[int, float]]:
    """Resident megabytes of this process as sessions go by; a mock answers for the models."""
    files = RunFiles(folder)
    files.folder.mkdir(parents=True)
    write_tasks(dataset, files.tasks, dataset_revision="0" * 64, run_id=f"{folder.name}-{time.time_ns()}")
    run = ModelRun(SessionPlan(), configuration("http://nowhere", "off"))
    seen: list[tuple[int, float]] = []
    process = psutil.Process()

    def note(progress: Any) -> None:
        seen.append((progress.done, process.memory_info().rss / 1e6))

    with mock.patch("crm_assets.llm.client.Backends", _Canned):
        run_models(
            files,
            run,
            project=project,
            databases=connect_databases(project),
            dataset="bench",
            progress=note,
        )
    return seen


def own_cpu_ms(project: Project, folder: Path, recorded: Path) -> float:
    """CPU milliseconds of a session without the models and without telemetry, Postgres included.

    By a replay of the run in `recorded`: the same calls and sandboxes, and nobody is asked.
    """
    files, before = RunFiles(folder), RunFiles(recorded)
    files.folder.mkdir(parents=True)
    shutil.copy(before.tasks, files.tasks)
    run = ModelRun(
        SessionPlan(concurrency=64), configuration("http://nowhere", "off"), replay=before.ledger
    )
    started = _cpu()
    summary = run_models(files, run, project=project, databases=connect_databases(project), dataset="bench")
    assert summary.infrastructure_errors == 0, summary
    return (_cpu() - started) / summary.total * 1000


class _Canned:
    """A mock of the way to the models: answers at once, with a call, a reply or a verdict."""

    def __init__(self, *_: object) -> None:
        pass

    def of(self, spec: ModelSpec) -> _Canned:
        return self

    async def send(self, request: ChatRequest, timeout_seconds: float) -> Completion:
        await asyncio.sleep(0)
        content = "Which client do you mean?"
        if request.json_object:
            content = (
                '{"valid": true, "guidance": null, "score": 0.5, "uncertainty": 0.1, "rationale": "x"}'
            )
        usage = Usage(prompt_tokens=100, completion_tokens=10)
        return Completion(ChatReply(content, usage=usage, cost_usd=0.0), usage=usage, cost_usd=0.0)

    async def aclose(self) -> None:
        pass


@contextmanager
def _kept_sessions(kept: list[Stored]) -> Iterator[None]:
    """Keep what sessions leave in the telemetry, to store it again."""
    begin, persist = TelemetryStore.begin, TelemetryStore.persist
    starts: dict[int, SessionStart] = {}

    def keeping_begin(store: TelemetryStore, start: SessionStart) -> int:
        number = begin(store, start)
        starts[number] = start
        return number

    def keeping_persist(
        store: TelemetryStore, number: int, end: SessionEnd, merge: Any = None, **options: Any
    ) -> Any:
        if len(kept) < _MOST_KEPT:
            kept.append(Stored(starts[number], end, merge))
        return persist(store, number, end, merge, **options)

    with mock.patch.multiple(TelemetryStore, begin=keeping_begin, persist=keeping_persist):
        yield


def telemetry_ms(project: Project, kept: list[Stored]) -> float:
    """Milliseconds of a session's telemetry: entering it, reading what its key knows, storing it."""
    with TelemetryStore(connect_databases(project).telemetry) as store:
        started = time.perf_counter()
        for start, end, merge in kept:
            store.learning_state(start.learning_key)
            store.past_sessions(start.learning_key, 10)
            store.reward_window(start.learning_key, 50)
            store.persist(store.begin(start), end, merge)
        return (time.perf_counter() - started) / len(kept) * 1000


def _cpu() -> float:
    """CPU seconds so far of this process, of its children that have ended, and of Postgres."""
    times = psutil.Process().cpu_times()
    own = times.user + times.system + times.children_user + times.children_system
    return own + sum(_postgres_cpu())


def _postgres_cpu() -> Iterator[float]:
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "postgres":
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue  # it ended meanwhile
            yield times.user + times.system
