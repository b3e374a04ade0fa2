"""What the Atlas loop costs: against the ideal, against litellm alone, in the telemetry, in memory.

The models are the offline ones behind HTTP in a process of their own, with a latency for each answer.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from crm_assets.artifacts import RunFiles
from crm_assets.atlas.config_file import ConfigOverrides, LearningMode, load_config
from crm_assets.atlas.model_run import ModelRun, run_models
from crm_assets.atlas.run import RunOptions
from crm_assets.atlas.tasks import read_tasks, write_tasks
from crm_assets.llm import LedgerEntry, read_ledger
from crm_assets.project import Project

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIG = REPOSITORY / "configs" / "atlas" / "crm_harness.dev.yaml"


class LoopRun(NamedTuple):
    """One run of the loop."""

    sessions: int
    calls: int
    seconds: float
    cpu_seconds: float
    """Of this process."""
    ideal_seconds: float
    """All latency / sessions at a time, or the longest key's chain."""


@contextmanager
def model_server(latency_ms: float) -> Iterator[str]:
    """The offline models over HTTP; yields the address."""
    script = (
        "import sys; from crm_assets.llm.offline import serve; "
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
    latency: float,
    learning: LearningMode,
    concurrency: int = 64,
) -> LoopRun:
    """Take every conversation of `dataset` through the loop in mode paired."""
    files = RunFiles(folder)
    files.folder.mkdir(parents=True)
    run_id = f"{folder.name}-{time.time_ns()}"
    count = write_tasks(dataset, files.tasks, dataset_revision="0" * 64, run_id=run_id)
    environment = {"OPENAI_API_KEY": "none"}
    config = load_config(CONFIG, environment=environment, overrides=_overrides(learning))
    config = _pointed_at(config, server)
    run = ModelRun(config, options=RunOptions(concurrency=concurrency))
    started, cpu = time.perf_counter(), time.process_time()
    summary = run_models(files, run, project=project, dataset="bench")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert summary.infrastructure_errors == 0, summary
    entries = list(read_ledger(files.ledger))
    ideal = (
        longest_chain(files, entries, latency) if learning == "on" else len(entries) * latency / concurrency
    )
    return LoopRun(count, len(entries), seconds, cpu, ideal)


def _overrides(learning: LearningMode) -> ConfigOverrides:
    return ConfigOverrides(learning=learning, mode="paired")


def _pointed_at(config: Any, server: str) -> Any:
    """The configuration with every model at `server`, at no price."""
    from dataclasses import replace

    model = config.config.agent.llm.model_copy(
        update={
            "api_base": server,
            "usd_per_million_prompt_tokens": 0.0,
            "usd_per_million_completion_tokens": 0.0,
        }
    )
    tree = config.config
    changed = tree.model_copy(
        update={
            "agent": tree.agent.model_copy(update={"llm": model}),
            "teacher": tree.teacher.model_copy(update={"llm": model}),
            "rim": tree.rim.model_copy(update={"small_model": model, "large_model": model}),
            "learning": tree.learning.model_copy(update={"llm": model}),
        }
    )
    return replace(config, config=changed)


def longest_chain(files: RunFiles, entries: list[LedgerEntry], latency: float) -> float:
    """Seconds that the longest learning key's sessions take one after the other, latency alone.

    The three judges of a session are asked at the same time.
    """
    from crm_assets.atlas.identity import learning_key

    keys = {
        task.conversation.conversation_id: learning_key(task.conversation)
        for task in read_tasks(files.tasks)
    }
    chains: dict[str, float] = defaultdict(float)
    judged: dict[str, int] = defaultdict(int)
    for entry in entries:
        conversation = entry.session.partition("#")[0] if entry.session not in keys else entry.session
        if entry.role == "judge":
            judged[entry.session] += 1
            if judged[entry.session] in (2, 3):
                continue
        chains[keys[conversation]] += latency
    return max(chains.values())


def litellm_cpu_ms(server: str, calls: int) -> float:
    """CPU milliseconds of one bare litellm call of a student's size, tools included."""
    from crm_assets.atlas.config_file import load_config as load
    from crm_assets.atlas.student_prompt import function_tools, system_prompt

    config = load(CONFIG, environment={"OPENAI_API_KEY": "none"})
    prompt = system_prompt(config.config.agent, pamphlet=None, plan=None, guidance=None)
    messages = [
        {"role": "system", "content": prompt},
        {"role": "user", "content": "List the quote prefixes."},
    ]
    tools = [tool.document for tool in function_tools()]

    async def ask(count: int) -> None:
        import litellm

        gate = asyncio.Semaphore(16)

        async def one() -> None:
            async with gate:
                await litellm.acompletion(
                    model="openai/gpt-4.1-mini",
                    messages=messages,
                    tools=tools,
                    api_base=server,
                    api_key="none",
                    max_retries=0,
                )

        await asyncio.gather(*(one() for _ in range(count)))

    asyncio.run(ask(8))
    cpu = time.process_time()
    asyncio.run(ask(calls))
    return (time.process_time() - cpu) / calls * 1000
