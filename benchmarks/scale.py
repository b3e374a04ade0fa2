"""Metrics and comparison of large baselines: CPU and memory, each in a process of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, NamedTuple

import orjson

from crm_assets.atlas.scripted_run import run_sessions
from crm_assets.atlas.tasks import write_tasks
from crm_assets.database import connect_databases
from crm_assets.generator import write_dataset
from crm_assets.harness import AgentSpec
from crm_assets.workspace.baseline_files import RunFiles
from crm_assets.workspace.project import Project

Kind = Literal["metrics", "comparison"]

_RUNS = {"20260131T093000Z": "noop", "20260201T093000Z": "replay"}
_CONVERSATIONS = 200  # that really run; the others are the same under new IDs
_MEASURED = """
import resource, sys
from pathlib import Path
from crm_assets.reporting.comparison import compare_baselines, render_page
from crm_assets.reporting.metrics import compute_metrics
from crm_assets.reporting.models import RunInfo
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
what, root, dataset, *runs = sys.argv[1:]
a, b = (BaselinePaths.of(Project(Path(root)), BaselineKey.of(dataset, run)) for run in runs)
if what == "metrics":
    compute_metrics(b.sessions, run=RunInfo())
else:
    render_page(compare_baselines(a, b))
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


class Cost(NamedTuple):
    """The cost of one measurement."""

    cpu_seconds: float
    megabytes: float
    """Peak."""


def make_baselines(project: Project, folder: Path, counts: list[int]) -> None:
    """Run a dataset by two agents, and write their sessions for each of `counts` conversations."""
    dataset = folder / "scale.jsonl"
    write_dataset(dataset, _CONVERSATIONS, 1)
    for run, agent in _RUNS.items():
        done = RunFiles(folder / run)
        done.folder.mkdir()
        write_tasks(dataset, done.tasks, dataset_revision="0" * 64, run_id=run)
        run_sessions(
            done,
            project=project,
            databases=connect_databases(project),
            dataset="scale",
            agent=AgentSpec(agent),
        )
        for count in counts:
            target = project.baselines / f"n{count}" / run / "atlas"
            target.mkdir(parents=True)
            shutil.copy(done.run, target)
            _repeat(done.sessions, target / "sessions.jsonl", count)


def _repeat(source: Path, target: Path, count: int) -> None:
    """Write `count` sessions: those of `source` over and over, each time of other conversations."""
    lines = source.read_bytes().splitlines(keepends=True)
    with target.open("wb") as handle:
        for number, line in enumerate(islice(cycle(lines), count)):
            session = orjson.loads(line)
            name = session["conversation_id"].encode()
            content = session["conversation_result"]["work_hash"].encode()
            other = b"%s-%06d" % (name, number // len(lines))
            digest = hashlib.sha256(other).hexdigest().encode()
            handle.write(line.replace(name, other).replace(content, digest))


def cost(project: Project, what: Kind, count: int) -> Cost:
    """Measure metrics of one baseline of `count` conversations, or the comparison of both."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, what, str(project.root), f"n{count}", *_RUNS],
        check=True,
        capture_output=True,
        text=True,
    )
    return Cost(*map(float, done.stdout.split()))


def report(project: Project, folder: Path, count: int) -> None:
    """Print both for `count` conversations and for twice as many."""
    make_baselines(project, folder, [count, 2 * count])
    kinds: tuple[Kind, ...] = ("metrics", "comparison")
    for what in kinds:
        one, two = (cost(project, what, each) for each in (count, 2 * count))
        print(
            f"{what} of {2 * count:,} conversations: {two.cpu_seconds:.1f} s of CPU, peak "
            f"{two.megabytes:.0f} MB; {two.cpu_seconds / one.cpu_seconds:.2f} times that of {count:,}"
        )
