"""The environment with the Atlas SDK, and runs in it.

`CRM_ASSETS_ATLAS_SDK` names a python that has this project with its extra `atlas-sdk`;
`scripts/check-atlas-sdk` makes one.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson
import pytest

from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import Loop
from tests.waiting import HANG_SECONDS

__all__ = ["SdkProcess", "sdk_folder"]

REPOSITORY = Path(__file__).resolve().parents[3]


def sdk_folder() -> Path:
    """The bin folder of the environment; skips where it is not there, which in CI it must be."""
    named = os.environ.get("CRM_ASSETS_ATLAS_SDK")
    if named:
        return Path(named).parent
    made = REPOSITORY / ".crm_assets" / "atlas-sdk"
    if not (made / "ready").is_file() and os.environ.get("CI") != "true":
        pytest.skip("the Atlas SDK is not there: run scripts/check-atlas-sdk, or set CRM_ASSETS_ATLAS_SDK")
    made.parent.mkdir(exist_ok=True)
    with (made.parent / "atlas-sdk.lock").open("w") as lock:  # test processes may come here together
        fcntl.flock(lock, fcntl.LOCK_EX)
        script = REPOSITORY / "scripts" / "check-atlas-sdk"
        done = subprocess.run([script], check=False, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()).parent


class SdkProcess:
    """A process of that environment, which runs what it is told, one run after the other."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> SdkProcess:
        python, driver = sdk_folder() / "python", Path(__file__).with_name("driver.py")
        environment = {**os.environ, "PYTHONPATH": "", "ATLAS_OFFLINE_MODE": "", "ATLAS_FAKE_LLM": "1"}
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                [python, driver],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.popen is not None
        self.popen.communicate(timeout=HANG_SECONDS)

    def start(self, loop: Loop, files: RunFiles, config: Path, **plan: Any) -> None:
        """Have a run worked off."""
        assert self.popen is not None and self.popen.stdin is not None
        plan = {"engine": "sdk", "concurrency": 4, **plan, "config": str(config)}
        order = {"root": str(loop.project.root), "folder": str(files.folder), "plan": plan}
        self.popen.stdin.write(orjson.dumps(order) + b"\n")
        self.popen.stdin.flush()

    def outcome(self) -> dict[str, Any]:
        """What came of it: the summary's fields and `seconds`, or `error` and `message`."""
        assert self.popen is not None and self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, self.said()
        outcome: dict[str, Any] = orjson.loads(line)
        return outcome

    def run(self, loop: Loop, files: RunFiles, config: Path, **plan: Any) -> dict[str, Any]:
        """Both; the run must come to its end."""
        self.start(loop, files, config, **plan)
        outcome = self.outcome()
        assert "error" not in outcome, outcome
        return outcome

    def said(self) -> str:
        """All that it wrote to the terminal."""
        return self._log.read_text()
