"""The beginning of the students' prompts, which servers and providers read from their caches."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import orjson

from crm_assets.atlas.config_file import load_config
from crm_assets.atlas.student_prompt import system_prompt
from tests.atlas.loop import Loop, models_at, offline_models, small_dataset
from tests.llm.scripted_server import Recorded, ScriptedServer


def beginning(request: Recorded) -> str:
    """The body up to the last message, to the byte as it was sent."""
    messages = orjson.dumps(request.body["messages"]).decode()
    assert messages in request.text
    return request.text[: request.text.index(messages) + len(messages) - 1]


def test_it_is_the_same_in_all_turns_and_sessions_and_what_is_learnt_comes_behind(loop: Loop):
    with ScriptedServer(offline_models) as server:
        config = loop.config(models_at(server.url))
        files = loop.tasks(small_dataset(8))
        loop.run(files, config, concurrency=1, epochs=2)
        requests = [
            one for one in server.requests if one.body["model"] == "student" and "tools" in one.body
        ]
    stable = system_prompt(load_config(config, environment={}).config.agent)
    systems = [one.body["messages"][0]["content"] for one in requests]
    assert all(system.startswith(stable) for system in systems)
    behind = {system[len(stable) :] for system in systems}
    assert "" in behind, "no session without anything learnt"
    assert any("Student Playbook" in text for text in behind), "nothing was learnt"

    first = requests[0].text
    quoted = orjson.dumps(stable).decode()[:-1]
    shared = first[: first.index(quoted) + len(quoted)]
    assert all(one.text.startswith(shared) for one in requests)
    assert len(shared) > 0.8 * max(len(one.text) for one in requests)

    sessions: dict[str, list[Recorded]] = defaultdict(list)
    for one in requests:
        sessions[orjson.dumps(one.body["messages"][:2]).decode()].append(one)
    turns = 0
    for asked in sessions.values():
        for earlier, later in pairwise(asked):
            if len(later.body["messages"]) > len(earlier.body["messages"]):
                assert later.text.startswith(beginning(earlier))
                turns += 1
    assert turns > len(sessions)
