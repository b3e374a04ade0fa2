from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.offline_models import FaultMix, OfflineServer, serve
from crm_assets.offline_models import server as server_module
from crm_assets.offline_models.faults import FAULT_KINDS
from tests.waiting import HANG_SECONDS

from .talk import CRM_TOOLS, QUOTE

STUDENT = {
    "model": "my-student",
    "messages": [{"role": "user", "content": f"Delete quote {QUOTE}."}],
    "tools": list(CRM_TOOLS),
}
JUDGE = {
    "model": "x",
    "messages": [
        {"role": "system", "content": "You are the judge of it."},
        {"role": "user", "content": "?"},
    ],
}


def post(server: OfflineServer, body: Mapping[str, Any], *, timeout: float = HANG_SECONDS) -> Any:
    request = urllib.request.Request(
        f"{server.url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.loads(response.read())


def message(server: OfflineServer, body: Mapping[str, Any]) -> Any:
    return post(server, body)["choices"][0]["message"]


def always(*kinds: Any) -> OfflineServer:
    return OfflineServer(faults=FaultMix(1.0, kinds))


def test_it_speaks_openais_language():
    with OfflineServer() as server:
        reply = post(server, STUDENT)
        with urllib.request.urlopen(f"{server.url}/models") as response:
            listed = [entry["id"] for entry in json.loads(response.read())["data"]]
    [choice] = reply["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "delete_quote"
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert listed == ["student", "teacher", "judge", "learner", "probe"]


def test_whom_the_name_does_not_tell_the_prompt_does():
    with OfflineServer() as server:
        assert "uncertainty" in message(server, JUDGE)["content"]


@pytest.mark.parametrize(
    "body", [{"messages": []}, {"model": "x", "messages": [1]}, {"model": "x", "messages": 3}]
)
def test_what_cannot_be_read_is_refused_and_the_server_lives_on(body):
    with OfflineServer() as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server, body)
        assert caught.value.code == 400
        assert post(server, STUDENT)


def test_it_takes_its_time():
    with OfflineServer(latency_seconds=0.2) as server:
        start = time.perf_counter()
        post(server, STUDENT)
    assert time.perf_counter() - start >= 0.2


def test_its_own_work_is_part_of_the_time_it_takes(monkeypatch: pytest.MonkeyPatch):
    answer, sleep = server_module.answer, asyncio.sleep
    waited: list[float] = []

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.1)
        return answer(*arguments)

    async def noted(seconds: float, *rest: Any) -> Any:
        waited.append(seconds)
        return await sleep(seconds, *rest)

    monkeypatch.setattr(server_module, "answer", slowly)
    monkeypatch.setattr(asyncio, "sleep", noted)
    with OfflineServer(latency_seconds=10.0) as server, pytest.raises(TimeoutError):
        post(server, STUDENT, timeout=1.0)
    assert 0 < max(waited) <= 9.9


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("429_retry_after", 429), ("500", 500)])
def test_refusals(kind, status):
    with always(kind) as server, pytest.raises(urllib.error.HTTPError) as caught:
        post(server, STUDENT)
    assert caught.value.code == status
    assert caught.value.headers["Retry-After"] == ("1" if kind == "429_retry_after" else None)


def test_a_server_that_hangs_still_ends():
    with always("hang") as server, pytest.raises(TimeoutError):
        post(server, STUDENT, timeout=0.3)


def test_a_torn_connection():
    with (
        always("reset") as server,
        pytest.raises((ConnectionError, http.client.HTTPException, urllib.error.URLError)),
    ):
        post(server, STUDENT)


def test_half_a_body():
    with always("truncated_body") as server, pytest.raises(json.JSONDecodeError):
        post(server, STUDENT)


def test_replies_that_are_spoilt():
    with always("empty") as server:
        assert message(server, STUDENT) == {"role": "assistant", "content": ""}
    with always("wrong_types") as server:
        assert not isinstance(message(server, STUDENT)["content"], str)
    with always("two_calls") as server:
        assert len(message(server, STUDENT)["tool_calls"]) == 2
    with always("unknown_tool") as server:
        name = message(server, STUDENT)["tool_calls"][0]["function"]["name"]
        assert name not in {tool["function"]["name"] for tool in CRM_TOOLS}
    with always("truncated_arguments") as server, pytest.raises(json.JSONDecodeError):
        json.loads(message(server, STUDENT)["tool_calls"][0]["function"]["arguments"])


def test_json_that_is_spoilt():
    with always("list") as server:
        assert isinstance(json.loads(message(server, JUDGE)["content"]), list)
    with always("fence") as server:
        assert "```json\n{" in message(server, JUDGE)["content"]
    for kind, score in (("score_7", 7), ("score_high", "high")):
        with always(kind) as server:
            assert json.loads(message(server, JUDGE)["content"])["score"] == score


def test_a_fault_that_does_not_suit_a_reply_leaves_it_alone():
    with always("score_7", "list") as server:
        assert message(server, STUDENT)["tool_calls"][0]["function"]["name"] == "delete_quote"


def outcomes(server: OfflineServer, numbers: range, repeats: int = 1) -> dict[int, list[str]]:
    """What becomes of different requests, each sent so often."""
    found: dict[int, list[str]] = {}
    for number in numbers:
        body = {**STUDENT, "messages": [{"role": "user", "content": f"Delete quote {number}."}]}
        for _ in range(repeats):
            try:
                post(server, body)
                found.setdefault(number, []).append("fine")
            except urllib.error.HTTPError as error:
                found.setdefault(number, []).append(str(error.code))
    return found


PLAN = FaultMix(0.3, ("429", "500"), seed=4)


def test_faults_are_the_same_in_every_run_whatever_the_order():
    with OfflineServer(faults=PLAN) as server:
        first = outcomes(server, range(40), 2)
    with OfflineServer(faults=PLAN) as server:
        assert outcomes(server, range(39, -1, -1), 2) == first
    with OfflineServer(faults=FaultMix(0.3, ("429", "500"), seed=5)) as server:
        assert outcomes(server, range(40), 2) != first


def test_faults_come_at_their_rate_and_a_retry_can_succeed():
    with OfflineServer(faults=PLAN) as server:
        found = outcomes(server, range(60), 5)
    counts = Counter(outcome for one in found.values() for outcome in one)
    assert 0.2 < 1 - counts["fine"] / counts.total() < 0.4
    assert set(counts) == {"fine", "429", "500"}
    assert all("fine" in one for one in found.values())


@pytest.mark.parametrize(
    ("rate", "kinds"), [(1.5, FAULT_KINDS), (-0.1, FAULT_KINDS), (0.1, ()), (0.1, ("x",))]
)
def test_a_plan_that_makes_no_sense_is_refused(rate, kinds):
    with pytest.raises(InputError):
        FaultMix(rate, kinds)


def test_a_port_that_is_taken_is_told_in_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InfrastructureError, match=rf"port {port}"), OfflineServer(port):
            pass
        with pytest.raises(InfrastructureError, match="another port"):
            serve(port)


def test_no_thread_is_left_behind():
    with OfflineServer(faults=FaultMix(1.0, ("hang",))) as server, pytest.raises(TimeoutError):
        post(server, STUDENT, timeout=0.2)
    assert not [thread for thread in threading.enumerate() if thread.name == "offline-models"]
