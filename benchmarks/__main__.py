"""Prints the figures of docs/performance.md. `--quick` does a tenth of the work."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

from benchmarks import data, loop, measures, naive, scale
from crm_assets.atlas.choices import LearningMode
from crm_assets.database import connect_databases, stop_embedded
from crm_assets.generator import write_dataset
from crm_assets.workspace.project import Project

_MANY = 64  # sessions at a time


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, rougher figures")
    parser.add_argument(
        "--only",
        choices=[
            "throughput",
            "side-by-side",
            "drift",
            "audit",
            "profile",
            "loop",
            "memory",
            "scale",
            "ui",
            "transcripts",
            "agents",
        ],
        help="one measurement alone",
    )
    options = parser.parse_args()
    divisor = 10 if options.quick else 1
    # Not under a long temporary path: a unix socket's is limited.
    with tempfile.TemporaryDirectory(prefix="crmbench") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        project = Project(folder)
        try:
            run(project, folder, divisor, options.only)
        finally:
            stop_embedded(project)


def run(project: Project, folder: Path, divisor: int, only: str | None) -> None:  # noqa: PLR0915  (one measurement after the other)
    source = data.evaluation_set()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {source.name}"
    )
    conninfo = connect_databases(project).sandbox

    def wanted(name: str) -> bool:
        return only in (None, name)

    if wanted("throughput"):
        count = 10_000 // divisor
        dataset = data.repeated(source, folder / "throughput.jsonl", count)
        first = measures.throughput(project, dataset, count, 1, folder)
        print(f"replay, ground truths computed on the way: {first:,.0f} conversations/s")
        one = measures.throughput(project, dataset, count, 1, folder)
        print(f"replay, one process: {one:,.0f} conversations/s")
        two = measures.throughput(project, dataset, count, 2, folder)
        print(f"replay, two workers: {two:,.0f} conversations/s")
        plain = naive.conversations_per_second(conninfo, dataset, 1_000 // divisor)
        print(
            f"naive sandbox (database work only, no verification): {plain:,.0f} conversations/s; "
            f"one process of ours is {one / plain:.1f} times that"
        )
    if wanted("side-by-side"):
        count = 4_000 // divisor
        dataset = data.repeated(source, folder / "side.jsonl", count)
        rate, ideal, waits = measures.side_by_side(project, dataset, count, 64, 0.05)
        print(
            f"64 sessions, 50 ms of thought a turn: {rate:,.0f} conversations/s, {rate / ideal:.1%} of "
            f"the ideal {ideal:,.0f}; lock waits seen: {waits}"
        )
    if wanted("drift"):
        count, window = 50_000 // divisor, 10_000 // divisor
        dataset = data.repeated(source, folder / "drift.jsonl.in", count)
        measures.throughput(project, dataset, count, 1, folder)  # ground truths known from here on
        early, late = measures.drift(project, dataset, count, window, folder)
        print(
            f"drift: first {window:,} of {count:,} at {early:,.0f}/s, last {window:,} at {late:,.0f}/s "
            f"({late / early - 1:+.1%})"
        )
    if wanted("audit"):
        count = 100_000 // divisor
        dataset = folder / "large.jsonl"
        write_dataset(dataset, count, 1)
        seconds, megabytes = measures.audit_cost(dataset)
        print(f"load and audit {count:,} conversations: {seconds:.1f} s, peak {megabytes:.0f} MB")
    if wanted("profile"):
        count = 2_000 // divisor
        dataset = data.repeated(source, folder / "profile.jsonl.in", count)
        measures.throughput(project, dataset, count, 1, folder)
        print("where the time of one process goes (shares under the profiler):")
        for part, share in measures.where_time_goes(project, dataset, folder):
            print(f"  {share:6.1%}  {part}")
    if wanted("loop"):
        measure_loop(project, source, folder, 400 // divisor)
    if wanted("memory"):
        count = 10_000 // divisor
        dataset = data.repeated(source, folder / "memory.jsonl", count)
        seen = loop.memory_over_sessions(project, dataset, folder / "memory")
        marks = [min(seen, key=lambda pair: abs(pair[0] - count * part // 4)) for part in (1, 2, 3, 4)]
        print(
            f"memory of {count:,} sessions: " + ", ".join(f"{mb:.0f} MB at {done:,}" for done, mb in marks)
        )
    if wanted("scale"):
        scale.report(project, folder, 50_000 // divisor)
    if wanted("transcripts"):
        from benchmarks import transcripts  # noqa: PLC0415  (only this one needs Inspect and a browser)

        transcripts.report(project, folder, 10_000 // divisor)
    if wanted("agents"):
        from benchmarks import agents  # noqa: PLC0415  (only this one needs the MCP SDK)

        agents.report(project, divisor)
    if wanted("ui"):
        from benchmarks import ui_scale  # noqa: PLC0415  (only this one needs Dagster and a browser)

        ui_scale.report(divisor)


def measure_loop(project: Project, source: Path, folder: Path, count: int) -> None:
    """The Atlas loop over HTTP at 200 ms and 1 s an answer, and what it costs without that."""
    dataset = data.repeated(source, folder / "loop.jsonl", count)
    with loop.model_server(0) as server:
        direct, litellm = (loop.client_cpu_ms(server, count, arm) for arm in ("direct", "litellm"))
        plain = loop.run_loop(
            *(project, dataset, folder / "plain"), server=server, latency_ms=0, learning="off"
        )
    print(
        f"a call of the client's with 28 tools: {direct:.2f} ms of CPU directly, {litellm:.2f} ms through "
        f"litellm ({litellm / direct:.1f} times that)"
    )
    beyond = (plain.cpu_seconds * 1000 - plain.calls * direct) / plain.sessions
    own = loop.own_cpu_ms(project, folder / "own", folder / "plain")
    print(
        f"loop, no latency: {plain.calls / plain.sessions:.1f} calls a session, "
        f"{plain.cpu_seconds / plain.sessions * 1000:.0f} ms of CPU, {beyond:.0f} ms of it beyond the "
        f"client's; {own:.1f} ms in a replay, which asks no model"
    )
    print(f"telemetry: {loop.telemetry_ms(project, plain.stored):.1f} ms a session")
    runs: tuple[tuple[LearningMode, int, int, loop.Arm], ...] = (
        ("off", 200, 64, "direct"),
        ("off", 200, 64, "litellm"),
        ("off", 1000, 256, "direct"),
        ("off", 1000, 256, "litellm"),
        ("on", 200, 64, "direct"),
    )
    many = data.repeated(source, folder / "many.jsonl", 4 * count)  # so that the start does not count
    for learning, latency_ms, sessions, arm in runs:
        with loop.model_server(latency_ms) as server:
            done = loop.run_loop(
                *(project, many if sessions > _MANY else dataset, folder / f"{learning}{latency_ms}{arm}"),
                server=server,
                latency_ms=latency_ms,
                learning=learning,
                concurrency=sessions,
                arm=arm,
            )
        print(
            f"loop, {latency_ms} ms a call, {sessions} sessions, learning {learning}, {arm}: "
            f"{done.seconds:.1f} s, {done.seconds / done.ideal_seconds:.2f} × the ideal "
            f"{done.ideal_seconds:.1f} s; {done.calls / done.seconds:.0f} calls/s"
        )


if __name__ == "__main__":
    main()
