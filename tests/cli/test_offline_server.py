"""`crm-assets offline-server`: the way to a provider, without a key."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import httpx
import pytest

from crm_assets.workspace.files import read_json
from crm_assets.workspace.project import Project
from tests.waiting import HANG_SECONDS

from .conftest import Run

pytestmark = pytest.mark.whole


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_baseline_goes_over_http_and_ctrl_c_ends_the_server(
    run: Run, project: Project, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "crm_assets", "offline-server", "--port", str(port), "--fault-rate", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        told = server.stdout.readline()
        url = f"http://127.0.0.1:{port}/v1"
        assert told.startswith(f"OPENAI_API_BASE={url} ")
        monkeypatch.setenv("OPENAI_API_BASE", url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        result = run("baseline", "--dataset", "small", "--run", "20260131T093000Z", "--limit", 2)
        assert result.exit_code == 0, result.output
        metrics = read_json(project.baselines / "small" / "20260131T093000Z" / "atlas" / "metrics.json")
        assert metrics["agent_config"]["model"] == "openai/gpt-4.1-mini"
        assert metrics["agent_config"]["offline"] is False
        assert metrics["atlas_successful_runs"] == 2
        assert metrics["total_cost_usd"] is None  # list prices are those of the provider's own servers
    finally:
        server.send_signal(signal.SIGINT)
        _, stderr = server.communicate(timeout=HANG_SECONDS)
    assert "Traceback" not in stderr
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=HANG_SECONDS)


def test_a_port_that_is_taken_is_a_sentence(run: Run, port: int) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        result = run("offline-server", "--port", port)
    assert result.exit_code == 2
    assert "is in use" in result.stderr
