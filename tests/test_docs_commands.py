"""Every command in the README and in docs/ works as pasted, in the order in which they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from crm_assets.cli import cli
from crm_assets.workspace.project import Project
from tests.waiting import HANG_SECONDS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

pytestmark = pytest.mark.whole

LOOKED_AT = b"crm-s7-000002"  # by a document; of the other conversations of `dev`, one is enough
CORPUS_FILES = re.compile(r"\bclbench_\w+\.jsonl\b")

RUN_ELSEWHERE = {
    "make": "the targets are what CI runs, and tests/cli/test_ui.py; test_docs.py knows that they exist",
    "arc-atlas": "tests/atlas/telemetry/test_sdk_reads.py",
    ".venv/bin/python": "scripts/check-atlas-sdk, which CI runs, installs the same",
}
RUN_ELSEWHERE_WITH = {
    "langgraph": "tests/agents/test_examples.py, in the environment of the framework",
    "agents try http:": "tests/agents/test_external.py runs services",
    "runs upload": "tests/cli/test_store.py, with a store",
    "cluster check": "tests/orchestration/test_celery.py, with a broker and workers",
}
NEEDS_A_KEY = {"ANTHROPIC_API_KEY": re.compile(r"anthropic/")}


def commands(document: Path) -> Iterator[str]:
    """The commands of a document: indented lines that begin with a program, continued ones joined."""
    text = document.read_text().replace("\\\n", " ")
    programs = "|".join(re.escape(name) for name in ("crm-assets", *RUN_ELSEWHERE))
    yield from re.findall(rf"^    ((?:[A-Z_]+=\S+ )*(?:{programs}) .*)$", text, re.MULTILINE)


def _own_agent() -> str:
    """The agent of docs/agents.md."""
    found = re.search(
        r"^    # my_agent\.py.*\n((?:    .*\n)+)", (ROOT / "docs" / "agents.md").read_text(), re.M
    )
    assert found is not None
    return textwrap.dedent(found[1])


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def here(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project as a user has it, with fewer conversations, that one is in."""
    dev = (ROOT / "data" / "conversations" / "dev.jsonl").read_bytes().splitlines(keepends=True)
    project.dataset_file("dev").write_bytes(dev[0] + next(line for line in dev if LOOKED_AT in line))
    (project.root / "my_agent.py").write_text(_own_agent())
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    return project


class Shell:
    """Runs commands as a user would, one after the other."""

    def __init__(self, corpus: Path | None, port: int) -> None:
        self._corpus = corpus
        self._port = port
        self.servers: list[subprocess.Popen[str]] = []
        self.ran = 0

    def run(self, line: str) -> str | None:
        """Run a line; what went wrong, None if nothing."""
        words = shlex.split(
            line.replace(":8000", f":{self._port}").replace("--port 8000", f"--port {self._port}"),
            comments=True,
        )
        environment = {}
        while "=" in words[0] and not words[0].startswith("-"):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        program, *arguments = words
        if program in RUN_ELSEWHERE or any(words in line for words in RUN_ELSEWHERE_WITH):
            return None
        if not self._fetch(CORPUS_FILES.findall(line)):
            return None
        if arguments[0] in ("offline-server", "view"):
            return self._serve(arguments)
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            result = CliRunner().invoke(cli, arguments)
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.ran += 1
        for variable, pattern in NEEDS_A_KEY.items():
            if pattern.search(line):
                told = result.exit_code == 2 and variable in result.output
                return None if told else f"does not say that {variable} is missing: {result.output[-500:]}"
        if result.exit_code == 0:
            return None
        return f"exit code {result.exit_code}: {result.output[-800:]} {result.exception!r}"

    def _fetch(self, names: list[str]) -> bool:
        """Lay the benchmark's files beside the user, who has them; False where they are not there."""
        if names and self._corpus is None:
            return False
        for name in names:
            assert self._corpus is not None
            shutil.copy(self._corpus / name, name)
        return True

    def _serve(self, arguments: list[str]) -> str | None:
        is_view = arguments[0] == "view"
        # The usual port is one, and the document has two such commands.
        own = ["--no-browser", "--port", str(self._port + 1 + len(self.servers))] if is_view else []
        server = subprocess.Popen(
            [sys.executable, "-m", "crm_assets", *arguments, *own], stdout=subprocess.PIPE, text=True
        )
        self.servers.append(server)
        assert server.stdout is not None
        first = "Transcripts: http://127.0.0.1" if is_view else "OPENAI_API_BASE"
        return None if first in server.stdout.readline() else "the server did not start"

    def close(self) -> None:
        """End what was left running in other shells."""
        for server in self.servers:
            server.send_signal(signal.SIGINT)
        for server in self.servers:
            server.communicate(timeout=HANG_SECONDS)


def test_every_command_works_as_pasted(here: Project, port: int, request: pytest.FixtureRequest) -> None:
    folder = Path(os.environ.get("CRM_CORPUS", ROOT.parent / "shared" / "datasets"))
    there = (folder / "clbench_eval.jsonl").is_file()
    assert there or not os.environ.get("CI"), "CI has the corpus of real conversations"
    shell = Shell(folder if there else None, port)
    failed = []
    try:
        for document in DOCUMENTS:
            for line in commands(document):
                problem = shell.run(line)
                if problem is not None:
                    failed.append(f"{document.name}: {line}\n    {problem}")
    finally:
        shell.close()
    assert not failed, "\n".join(failed)
    assert shell.ran > 40
