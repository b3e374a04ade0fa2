"""Export of a run to Inspect, and the first transcript in its viewer; beside them Inspect's own ways."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from playwright.sync_api import Error as BrowserError

from benchmarks import scale
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from tests.ui.chromium import find_chromium, viewer

Way = Literal["ours", "inspect"]

_RUN = "20260201T093000Z"
_MEASURED = """
import resource, sys, time
from pathlib import Path
from inspect_ai.log import EvalLog, EvalSample, read_eval_log, write_eval_log
from crm_assets.exports.inspect_log import write_inspect_log
from crm_assets.exports.inspect_log import run_facts
from crm_assets.exports.inspect_samples import sample_of
from crm_assets.records import SessionLog
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
way, root, dataset, run, target, header = sys.argv[1:]
paths = BaselinePaths.of(Project(Path(root)), BaselineKey.of(dataset, run))
log = read_eval_log(header, header_only=True) if way == "inspect" else None
began = time.process_time()
if log is None:
    write_inspect_log(paths, Path(target))
else:
    read = SessionLog(paths.sessions)
    facts = run_facts(paths, read.header)
    log.samples = [EvalSample.model_validate(sample_of(s, facts).document) for s in read.without_traces()]
    write_eval_log(log, target)
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


class Cost(NamedTuple):
    """The cost of one export, imports apart."""

    cpu_seconds: float
    megabytes: float
    """Peak."""


def export(project: Project, way: Way, count: int, folder: Path) -> Cost:
    """Export `count` sessions by our writer, or by Inspect's models and `write_eval_log`."""
    target = folder / f"{way}-{count}.eval"
    done = subprocess.run(
        [
            *(sys.executable, "-c", _MEASURED, way, str(project.root), f"n{count}", _RUN, str(target)),
            str(folder / f"ours-{count}.eval"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return Cost(*map(float, done.stdout.split()[-2:]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], root: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        env={**os.environ, "CRM_ASSETS_HOME": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def first_transcript(project: Project, way: Way, count: int, log: Path) -> float:
    """Seconds from the command to the first transcript in the browser; for Inspect, of a finished log."""
    chromium = find_chromium()
    assert chromium is not None, "no browser was found: scripts/install-browser gets one"
    dataset, port = f"n{count}", _free_port()
    key = BaselineKey.of(dataset, _RUN)
    sessions = BaselinePaths.of(project, key).sessions
    with sessions.open("rb") as lines:
        conversation = lines.readline().split(b'"conversation_id":"', 1)[1].split(b'"', 1)[0].decode()
    if way == "ours":
        shutil.rmtree(project.state / "transcripts", ignore_errors=True)
        command = [sys.executable, "-m", "crm_assets", "view", dataset, _RUN, "--no-browser"]
        page_path = f"/{dataset}/{_RUN}/{conversation}"
    else:
        command = [str(Path(sys.executable).with_name("inspect")), "view", "--log-dir", str(log.parent)]
        page_path = f"/#/logs/{log.name}/samples/sample/{conversation}/1/"
    with viewer(chromium, f"http://127.0.0.1:{port}") as browser, browser.page(None) as page:
        began = time.perf_counter()
        with _running([*command, "--port", str(port)], project.root):
            while True:
                try:
                    page.goto(f"http://127.0.0.1:{port}{page_path}")
                    break
                except BrowserError:  # the server does not listen yet
                    time.sleep(0.05)
            page.get_by_text("MODEL CALL", exact=False).first.wait_for()
            return time.perf_counter() - began


def report(project: Project, folder: Path, count: int) -> None:
    """Print rate and memory of both writers, and the seconds to the first transcript of both viewers."""
    scale.make_baselines(project, folder, [count // 2, count])
    for name in (f"n{count // 2}", f"n{count}"):  # finished baselines have these, too
        paths = BaselinePaths.of(project, BaselineKey.of(name, _RUN))
        paths.metrics.write_text("{}")
        paths.readme.write_text("")
    ways: tuple[Way, ...] = ("ours", "inspect")
    costs = {(way, n): export(project, way, n, folder) for n in (count // 2, count) for way in ways}
    ours, plain = costs["ours", count], costs["inspect", count]
    print(
        f"export of {count:,} sessions to Inspect: {count / ours.cpu_seconds:,.0f} sessions/s of CPU, peak "
        f"{ours.megabytes:.0f} MB ({costs['ours', count // 2].megabytes:.0f} MB for half as many); "
        f"write_eval_log over its models: {count / plain.cpu_seconds:,.0f}/s, {plain.megabytes:.0f} MB "
        f"({costs['inspect', count // 2].megabytes:.0f} MB); "
        f"{plain.cpu_seconds / ours.cpu_seconds:.1f} times"
    )
    logs = folder / "logs"
    logs.mkdir()
    log = Path(shutil.move(folder / f"inspect-{count}.eval", logs / "plain.eval"))
    shown = {way: min(first_transcript(project, way, count, log) for _ in range(3)) for way in ways}
    print(
        f"first transcript of {count:,} sessions: {shown['ours']:.1f} s from `crm-assets view`, nothing "
        f"exported before; {shown['inspect']:.1f} s from `inspect view` on a finished log"
    )
