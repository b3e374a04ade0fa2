"""`crm-assets ui`: it serves, and goes without leaving anything behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress

import psutil
import pytest

from crm_assets.workspace.project import Project
from tests.waiting import HANG_SECONDS, eventually

from .conftest import Run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_served(port: int, process: subprocess.Popen[str]) -> None:
    def served() -> bool:
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=HANG_SECONDS).close()
            return True
        return False

    assert eventually(lambda: served() or process.poll() is not None, every_seconds=0.2)
    assert process.poll() is None, f"the UI did not come up: {process.communicate()}"


@pytest.mark.whole
def test_the_ui_serves_until_ctrl_c_and_leaves_no_process(project: Project) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "crm_assets", "ui", "--port", str(port)],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_served(port, process)
    family = psutil.Process(process.pid).children(recursive=True)
    commands = " ".join(" ".join(child.cmdline()) for child in family if child.is_running())
    assert "dagster_webserver" in commands
    assert "dagster._daemon" in commands

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, stderr
    assert f"http://127.0.0.1:{port}" in stdout
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
    assert alive == []


def test_a_configuration_of_an_older_version_is_a_sentence_before_anything_starts(
    run: Run, project: Project
) -> None:
    path = project.dagster_home / "dagster.yaml"
    path.write_text(path.read_text().replace("orchestration.storage", "dagster_storage"))
    result = run("ui", "--port", free_port())
    assert (result.exit_code, result.stdout) == (2, "")
    assert "dagster.yaml cannot be used" in result.stderr
