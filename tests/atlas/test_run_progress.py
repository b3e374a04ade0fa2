"""What a run tells of itself while it waits for a slow server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crm_assets.engine import Progress
from tests.atlas.loop import Loop, models_at, offline_models, small_dataset
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, refused


def late() -> Callable[[Recorded], Scripted]:
    """The offline models, whose first answer is an error and whose second one is late."""
    count = 0

    def script(request: Recorded) -> Scripted:
        nonlocal count
        count += 1
        if count == 1:
            return refused(500, "out of memory")
        answer = offline_models(request)
        return Scripted(answer.body, delay_seconds=0.5) if count == 2 else answer

    return script


@pytest.mark.parametrize("mode", ["native", "auto"])
def test_calls_and_retries_under_way_are_told_while_no_session_ends(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, mode: str
):
    """In mode `auto` it is the question for the mode that waits, before any session begins."""
    monkeypatch.setattr("crm_assets.engine.progress._WATCH_SECONDS", 0.05)
    monkeypatch.setattr("crm_assets.engine.progress._REPORT_SECONDS", 0.0)
    told: list[Progress] = []
    with ScriptedServer(late()) as server:
        files = loop.tasks(small_dataset(1))
        config = loop.config(models_at(server.url), {"agent": {"tool_mode": mode}})
        loop.run(files, config, agent="student", concurrency=1, progress=told.append)
    waiting = [one for one in told if one.activity and one.activity.startswith("1 open call, 1 retried")]
    assert len(waiting) > 3
    assert all(one.done == 0 and one.total == 1 for one in waiting)
    assert "last failure: openai/student: out of memory" in str(waiting[0].activity)
    assert waiting[0].spent is not None and waiting[0].spent.calls == 1
    assert told[-1].done == 1
