"""`crm-assets view`: what its server answers, and what a browser shows."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from crm_assets.cli import cli
from crm_assets.workspace.project import Project
from tests.records.test_old_baselines import ARCHIVE, ATLAS, NOOP, STUDENT
from tests.ui.chromium import find_chromium, viewer
from tests.waiting import HANG_SECONDS, eventually

pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(find_spec("inspect_ai") is None, reason="the extra inspect is not installed"),
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Project(tmp_path)


@contextmanager
def shown(project: Project, *arguments: str) -> Iterator[str]:
    """The address that `crm-assets view` prints, which ends with Ctrl-C and leaves no process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "crm_assets", "view", *arguments, "--port", port, "--no-browser"],
        env={**os.environ, "CRM_ASSETS_HOME": str(project.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Transcripts: http://127.0.0.1:"), line + process.communicate()[1]
        yield line.split()[1]
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, told
    assert told.splitlines()[-1] == "Stopped."
    _, alive = psutil.wait_procs(family, timeout=HANG_SECONDS)
    assert alive == []


def get(address: str, host: str | None = None) -> str:
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:
        return str(answer.read().decode())


def complete(address: str, log: str) -> bool:
    return bool(json.loads(get(f"{address}/mini/state/{log}"))["complete"])


def test_a_log_is_made_once_and_kept(project: Project) -> None:
    folder = project.state / "transcripts" / "mini"
    with shown(project, "mini", ATLAS) as address:
        server = address.partition("/mini")[0]
        assert f"#/tasks/{ATLAS}.eval" in address
        assert list(json.loads(get(f"{server}/mini/logs/listing.json"))) == [f"{ATLAS}.eval"]
        assert eventually(lambda: complete(server, f"{ATLAS}.eval"))
    (made,) = folder.glob("*.eval")
    time = made.stat().st_mtime_ns
    with shown(project, "mini", ATLAS) as address:
        assert complete(address.partition("/mini")[0], f"{ATLAS}.eval")
    assert made.stat().st_mtime_ns == time
    assert [path.name for path in folder.iterdir()] == [made.name]


def test_changed_sessions_are_exported_again(project: Project) -> None:
    with shown(project, "mini", NOOP) as address:
        assert eventually(lambda: complete(address.partition("/mini")[0], f"{NOOP}.eval"))
    sessions = project.baselines / "mini" / NOOP / "atlas" / "sessions.jsonl"
    sessions.write_bytes(b"".join(sessions.read_bytes().splitlines(keepends=True)[:2]))
    (old,) = (project.state / "transcripts" / "mini").glob("*.eval")
    with shown(project, "mini", NOOP) as address:
        assert eventually(lambda: complete(address.partition("/mini")[0], f"{NOOP}.eval"))
        assert eventually(lambda: not old.exists())


def test_it_answers_to_this_machine_only(project: Project) -> None:
    with shown(project) as address:
        assert f"/mini/{STUDENT}" in get(address)
        for path, host, code in (
            ("", "evil.example", 403),
            (f"mini/{STUDENT[:8]}", None, 404),
            ("mini/20200101T000000Z", None, 404),
            ("mini/assets/..%2F..%2Findex.html", None, 404),
            ("mini/logs/none.eval", None, 404),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(address + path, host)
            assert refused.value.code == code, path


def test_a_browser_shows_a_transcript_and_what_came_out_differently(project: Project) -> None:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium is here")
    with shown(project, "mini", ATLAS, NOOP) as address, viewer(chromium, "") as browser:
        server = address.partition("/mini")[0]
        sessions = project.baselines / "mini" / ATLAS / "atlas" / "sessions.jsonl"
        first = json.loads(sessions.read_bytes().splitlines()[0])
        turn = first["conversation_result"]["per_turn_results"][0]
        with browser.page(f"{server}/mini/{ATLAS}/{first['conversation_id']}") as page:
            page.get_by_text(turn["user_utterance"][:40]).first.wait_for()
            page.get_by_text(turn["tool_name"]).first.wait_for()
        log = f"{NOOP}_vs_{ATLAS}.eval"
        assert eventually(lambda: complete(server, log))
        with browser.page(f"{server}/mini/#/tasks/{log}") as page:
            page.get_by_text("4 Samples", exact=True).wait_for()
            box = page.get_by_role("textbox")
            box.click()
            page.keyboard.type('metadata.flip == "lost"')
            page.get_by_text("2 / 4 Samples", exact=True).wait_for()


def test_a_page_that_begins_is_loaded_again_when_all_is_there(project: Project) -> None:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium is here")
    sessions = project.baselines / "mini" / NOOP / "atlas" / "sessions.jsonl"
    lines = sessions.read_bytes().splitlines(keepends=True)
    with sessions.open("wb") as many:
        for number in range(8_000):
            document = lines[number % len(lines)]
            name = json.loads(document)["conversation_id"].encode()
            many.write(document.replace(name, b"%s-%d" % (name, number // len(lines))))
    with (
        shown(project, "mini", NOOP) as address,
        viewer(chromium, "") as browser,
        browser.page(address) as page,
    ):
        # Where the browser is slower than the export, all is there when the page is first shown.
        page.get_by_text(re.compile(r"^(100|8000) Samples$")).first.wait_for()
        page.get_by_text("8000 Samples", exact=True).wait_for()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of static files that knows nothing else, not even ranges."""

    class Files(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_bundle_shows_report_and_transcripts_from_any_server(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no chromium is here")
    monkeypatch.setenv("CRM_ASSETS_HOME", str(project.root))
    site, command = project.root / "out" / "site", ["export", "inspect", "mini", ATLAS, "--against", NOOP]
    made = CliRunner().invoke(cli, [*command, "--bundle", str(site)])
    assert made.exit_code == 0, made.output
    assert {f"{ATLAS}.eval", f"{NOOP}.eval"} < {path.name for path in (site / "logs").iterdir()}
    assert [path.name for path in site.parent.iterdir()] == ["site"]
    again = CliRunner().invoke(cli, [*command, "--bundle", str(site)])
    assert (again.exit_code, "is there already" in again.output) == (2, True)
    both = CliRunner().invoke(cli, [*command, "--bundle", "a", "-o", "b.eval"])
    assert (both.exit_code, "choose one of them" in both.output) == (2, True)

    with (
        served(site) as address,
        viewer(chromium, "") as browser,
        browser.page(f"{address}/report.html") as page,
    ):
        links = page.locator("a[href*='/samples/sample/']")
        conversation = links.first.inner_text()
        links.first.click()
        page.get_by_text("MODEL CALL", exact=False).first.wait_for()
        page.get_by_text(conversation, exact=True).first.wait_for()
        assert page.url.startswith(f"{address}/index.html#/logs/{ATLAS}.eval/")


def test_a_port_in_use_and_a_missing_package_are_sentences(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_ASSETS_HOME", str(project.root))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = CliRunner().invoke(cli, ["view", "mini", ATLAS, "--port", port])
    assert (refused.exit_code, "choose --port" in refused.output) == (2, True)
    monkeypatch.setattr("crm_assets.exports.inspect_package.find_spec", lambda name: None)
    missing = CliRunner().invoke(cli, ["view", "mini", ATLAS, "--port", port])
    assert missing.exit_code == 2
    assert "pip install 'crm-assets[inspect]'" in missing.output
