"""Ctrl-C during a run: answers under way are waited for and booked; a second one ends at once."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import pytest

from crm_assets.engine import OnProgress, Progress, RunSummary
from crm_assets.workspace.baseline_files import RunFiles
from tests.atlas.loop import Loop, models_at, offline_models, small_dataset
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, hang
from tests.waiting import eventually

AT_ONCE = 8
DOCUMENTS = small_dataset(AT_ONCE)


def play(loop: Loop, url: str, files: RunFiles, progress: OnProgress | None = None) -> RunSummary:
    config = loop.config(models_at(url))
    return loop.run(files, config, agent="student", concurrency=AT_ONCE, progress=progress)


def interrupt_after(server: ScriptedServer, requests: int) -> threading.Thread:
    """Send Ctrl-C to this process once so many requests have come."""

    def act() -> None:
        assert eventually(lambda: len(server.requests) >= requests)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def slowly(request: Recorded) -> Scripted:
    return replace(offline_models(request), delay_seconds=1.0)


def test_answers_under_way_are_waited_for_and_not_asked_again(loop: Loop) -> None:
    files, before = loop.tasks(DOCUMENTS), signal.getsignal(signal.SIGINT)
    with ScriptedServer(slowly) as server:
        thread = interrupt_after(server, AT_ONCE)
        with pytest.raises(KeyboardInterrupt):
            play(loop, server.url, files)
        thread.join()
        booked = loop.ledger(files)
        assert len(booked) == len(server.requests) >= AT_ONCE
        assert [entry.error for entry in booked if entry.error] == []
        assert not files.sessions.exists()
        assert signal.getsignal(signal.SIGINT) is before
        server.script = offline_models
        play(loop, server.url, files)
        again = {(entry.session, entry.request_sha256, entry.ordinal) for entry in loop.ledger(files)}
        assert len(again) == len(loop.ledger(files)) == len(server.requests)


def test_a_second_interrupt_ends_at_once(loop: Loop) -> None:
    files, told = loop.tasks(DOCUMENTS), []

    def watch(progress: Progress) -> None:
        if "Ctrl-C again ends at once" in (progress.activity or "") and not told:
            told.append(progress.activity)
            os.kill(os.getpid(), signal.SIGINT)

    with ScriptedServer(lambda _: hang()) as server:
        thread = interrupt_after(server, 1)  # a server that answers nothing gets few at a time
        with pytest.raises(KeyboardInterrupt):
            play(loop, server.url, files, watch)
        thread.join()
        asked = len(server.requests)
    assert len(told) == 1
    kinds = {entry.error.kind for entry in loop.ledger(files) if entry.error is not None}
    assert kinds == {"cancelled"}
    assert len(loop.ledger(files)) >= asked
