from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crm_assets.errors import InfrastructureError, InputError
from crm_assets.llm import (
    Caller,
    ChatRequest,
    FunctionCall,
    Message,
    ModelSpec,
    RequestLog,
    make_redactor,
)
from crm_assets.llm.request_lines import RecordedRequest, read_prompts, read_requests
from crm_assets.workspace.compressed_lines import read_compressed_lines
from tests.llm.asking import ALICE, KEYS, TOOLS, ask, entries, is_fine, spec_of, with_client
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, text
from tests.llm.test_ledger import full_disk

SPEC = ModelSpec(provider="openai", model="gpt-4.1-mini", temperature=0.0)
JUDGE = Caller(ALICE.session, "judge")
BOB = Caller("dev/bob#0", "student")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl.gz"


def record(path: Path, *asked: tuple[Caller, ChatRequest]) -> None:
    with RequestLog(path, make_redactor(KEYS)) as log:
        for caller, request in asked:
            log.record(caller, request, 1)


def read(path: Path, *callers: Caller) -> list[RecordedRequest]:
    return list(read_requests(path, {caller.session for caller in callers}))


def growing(count: int, prompt: str = "You work.") -> list[ChatRequest]:
    """The requests of one conversation: each has two messages more than the one before."""
    messages = [Message("system", prompt), Message("user", "Find Acme")]
    requests = []
    for number in range(count):
        requests.append(ChatRequest(SPEC, tuple(messages), TOOLS))
        call = FunctionCall(f"c{number}", "client_search", '{"name":"Acme"}', state={"thought": "x"})
        messages += [Message("assistant", None, (call,)), Message("tool", "{}", tool_call_id=f"c{number}")]
    return requests


def documents(requests: Sequence[ChatRequest]) -> list[tuple[dict[str, Any], ...]]:
    return [tuple(message.document() for message in request.messages) for request in requests]


def test_requests_are_read_as_they_were_asked_and_yield_their_hashes(path: Path) -> None:
    mine, theirs = growing(4), growing(2, "You work for Bob.")
    judged = ChatRequest(SPEC, (Message("system", "You judge."), Message("user", "{}")), json_object=True)
    several = replace(mine[3], parallel_tool_calls=True, temperature=0.7, max_output_tokens=9)
    order = [(ALICE, mine[0]), (BOB, theirs[0]), (ALICE, mine[1]), (JUDGE, judged), (BOB, theirs[1])]
    record(path, *order, (ALICE, mine[2]), (ALICE, mine[3]), (ALICE, several))

    found = read(path, ALICE, BOB)
    assert [(each.session, each.role) for each in found[:5]] == [(c.session, c.role) for c, _ in order]
    of_alice = [each for each in found if (each.session, each.role) == (ALICE.session, "student")]
    assert [each.messages for each in of_alice] == documents([*mine, several])
    assert [dict(each) for each in of_alice[0].tools] == [tool.document for tool in TOOLS]
    assert of_alice[-1].settings.temperature == 0.7
    assert of_alice[-1].settings.parallel_tool_calls
    assert all(each.is_unaltered for each in found)
    assert not replace(found[0], messages=found[1].messages).is_unaltered
    assert [each.messages for each in read(path, BOB)] == documents(theirs)


def test_what_calls_have_in_common_is_written_once(path: Path) -> None:
    prompt = "A long prompt. " * 50
    requests = growing(5, prompt)
    record(path, *((ALICE, request) for request in requests), *((BOB, request) for request in requests))
    lines = b"".join(line for _, line in read_compressed_lines(path))
    assert lines.count(prompt.encode()) == 1
    assert lines.count(TOOLS[0].description.encode()) == 1
    assert lines.count(b'"Find Acme"') == 2  # of each session
    prompts, tools = read_prompts(path)
    assert [(each.role, each.content) for each in prompts] == [("student", prompt)]
    assert [each.document for each in tools] == [TOOLS[0].document]


def test_a_later_start_goes_on_behind_an_interrupted_one(path: Path) -> None:
    requests = growing(3)
    log = RequestLog(path, make_redactor({}))
    log.record(ALICE, requests[0], 1)
    log.record(ALICE, requests[1], 1)
    log._handle.close()  # as a kill does
    (lines,) = path.parent.iterdir()
    with lines.open("r+b") as file:
        file.truncate(lines.stat().st_size - 3)
    record(path, (ALICE, requests[1]), (ALICE, requests[2]))
    assert [each.messages for each in read(path, ALICE)] == documents(requests)
    record(path, (ALICE, requests[0]))
    assert [each.messages for each in read(path, ALICE)] == documents([*requests, requests[0]])
    assert list(path.parent.iterdir()) == [path]


def test_two_runs_do_not_write_one_file(path: Path) -> None:
    with RequestLog(path, str), pytest.raises(InputError, match="being written by another process"):
        RequestLog(path, str)


def test_an_attempt_begins_anew_where_the_one_before_had_gone_on(path: Path) -> None:
    first, guided = growing(3), growing(2, "You work. Heed the teacher.")
    again = growing(1)
    record(path, *((ALICE, request) for request in (*first, *guided, *again)))
    assert [each.messages for each in read(path, ALICE)] == documents([*first, *guided, *again])


def test_secrets_are_redacted_wherever_they_stand(path: Path) -> None:
    key = KEYS["OPENAI_API_KEY"]
    call = FunctionCall("c", "note", f'{{"text":"{key}"}}')
    messages = (
        *(Message("system", f"Use {key}."), Message("user", f'My "{key}"')),
        Message("assistant", None, (call,), state={"thought": [key]}),
    )
    record(path, (ALICE, ChatRequest(SPEC, messages)))
    assert key.encode() not in b"".join(line for _, line in read_compressed_lines(path))
    (found,) = read(path, ALICE)
    assert found.messages[0]["content"] == "Use [redacted]."
    assert not found.is_unaltered


def test_a_refusing_disk_is_said_and_what_follows_is_whole(path: Path) -> None:
    with RequestLog(path, make_redactor({})) as log:
        log.record(ALICE, growing(1)[0], 1)
        large = ask(SPEC, "".join(map(chr, range(1000, 9000))))
        (lines,) = path.parent.iterdir()
        with full_disk(lines.stat().st_size + 50), pytest.raises(InfrastructureError, match="Could not"):
            log.record(ALICE, large, 1)
        log.record(ALICE, growing(2)[1], 1)
        log.record(BOB, growing(1)[0], 1)
    assert [each.messages for each in read(path, ALICE, BOB)] == documents([*growing(2), *growing(1)])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{\n", "line 1: no line of recorded requests"),
        (b'{"kind": "prompt"}\n', "line 1: no line of recorded requests"),
        (
            b'{"kind":"request","role":"judge","session":"dev/alice#0","request_sha256":"a","ordinal":1,'
            b'"settings":"s","keep":0,"messages":[]}\n',
            "line 1: names 's' before it stands there",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_named(path: Path, line: bytes, words: str) -> None:
    path.write_bytes(gzip.compress(line))
    with pytest.raises(InputError, match=words):
        read(path, ALICE)


def test_the_client_records_each_call_once_before_it_is_made(path: Path, tmp_path: Path) -> None:
    ledger, written = tmp_path / "ledger.jsonl", list[int]()

    def answer(request: Recorded) -> Scripted:
        written.append(sum(len(file.read_bytes()) for file in path.parent.glob("requests*")))
        return text("bad" if len(written) == 1 else "fine")

    with ScriptedServer(answer) as server:
        request = ask(spec_of(server))
        for _ in range(2):  # the second start is answered from the ledger
            with RequestLog(path, make_redactor(KEYS)) as log:
                with_client(lambda it: it.complete(ALICE, request, check=is_fine), ledger, requests=log)
    assert len(entries(ledger)) == len(written) == 2
    assert written[0] > 0
    (found,) = read(path, ALICE)
    assert found.is_unaltered
    assert entries(ledger)[0].request_sha256.startswith(found.request_sha256)
