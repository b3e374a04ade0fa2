"""`crm-assets show`, on a run that got everything wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from crm_assets.cli import cli
from crm_assets.cli.show import show
from crm_assets.llm import Caller, ChatRequest, FunctionCall, Message, ModelSpec, RequestLog
from crm_assets.workspace.baseline_files import BaselinePaths
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import find_project

from .conftest import KEY, Finish, Run


@pytest.fixture
def shown(run: Run, finish: Finish, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Nobody's run over `small`."""
    monkeypatch.setitem(cli.commands, "show", show)
    finish("noop")
    monkeypatch.setenv("COLUMNS", "80")
    return run


def test_sessions_are_listed_and_one_is_shown(shown: Run) -> None:
    listed = shown("show", "small", KEY, "--limit", 2)
    assert listed.exit_code == 0, listed.output
    assert "2 of 6 sessions, the worst first; 4 more with --limit." in listed.stdout
    identifier = "crm-s11-000002"
    one = shown("show", "small", KEY, identifier, "--epoch", 1)
    assert one.exit_code == 0, one.output
    assert identifier in one.stdout
    assert "verdict   ✗ No tool call" in one.stdout
    assert "expected" in one.stdout
    for result in (listed, one):
        assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "holds"),
    [
        (["show", "small", KEY, "--limit", "2"], '"conversation_id": "crm-s11-00000'),
        (["show", "small", KEY, "crm-s11-000002"], '"final_payload": {'),
        (["datasets", "list"], f'"last_run": "{KEY}"'),
        (["runs", "list", "--dataset", "small"], f'"run": "{KEY}"'),
        (["lineage", "small", KEY], f'"baseline": "small|{KEY}"'),
        (["label", "show", "small", KEY], '"session_raters": {}'),
        (["playbook", "show"], "[]"),
        (["playbook", "diff", "empty.json", "empty.json"], "[]"),
        (["review", "list"], "[]"),
    ],
)
def test_what_is_a_table_is_json_on_request(shown: Run, arguments: list[str], holds: str) -> None:
    empty = {"namespace": "dev", "keys": {}}
    Path("empty.json").write_text(json.dumps(empty))
    result = shown(*arguments, "--json")
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    assert holds in result.stdout


def test_what_a_role_was_asked_is_shown_word_for_word(shown: Run) -> None:
    project = find_project()
    session, paths = "crm-s11-000002", BaselinePaths.of(project, BaselineKey.of("small", KEY))
    spec = ModelSpec(provider="openai", model="gpt-4.1-mini")
    first = (Message("system", "You work."), Message("user", "Find Acme."))
    call = FunctionCall("c", "client_search", '{"name":"Acme"}')
    second = (*first, Message("assistant", None, (call,)), Message("tool", "[]", tool_call_id="c"))
    with RequestLog(paths.requests, str) as log:
        for messages in (first, second):
            log.record(Caller(session, "student"), ChatRequest(spec, messages), 1)
        log.record(Caller(session, "turn_judge"), ChatRequest(spec, (Message("system", "Judge."),)), 1)
        log.record(Caller("crm-s11-000001", "student"), ChatRequest(spec, (Message("user", "No"),)), 1)

    result = shown("show", "small", KEY, session, "--requests")
    assert result.exit_code == 0, result.output
    assert re.findall(r"Request (\d of \d: .*)", result.stdout) == [
        *("1 of 3: student", "2 of 3: student", "3 of 3: turn judge")
    ]
    assert result.stdout.count("Find Acme.") == 1
    assert "2 messages as before, and" in result.stdout
    assert 'calls client_search {"name":"Acme"}' in result.stdout

    one = shown("show", "small", KEY, session, "--role", "turn_judge", "--json")
    (document,) = json.loads(one.stdout)
    assert (document["role"], document["messages"]) == (
        "turn_judge",
        [{"role": "system", "content": "Judge."}],
    )
    for arguments, sentence in (
        (["--requests"], "--requests and --role need a CONVERSATION"),
        ([session, "--role", "teacher"], "Nothing was asked of the teacher in this session"),
        ([session, "--role", "nobody"], "'nobody' is not one of 'student', 'teacher'"),
    ):
        refused = shown("show", "small", KEY, *arguments)
        assert refused.exit_code != 0
        assert sentence in " ".join(refused.output.split())


def test_what_cannot_be_shown_is_told_in_a_sentence(shown: Run) -> None:
    for arguments, sentence in (
        ([KEY, "crm"], "6 conversations begin with 'crm'"),
        ([KEY, "nothing"], "has an ID that begins with 'nothing'"),
        ([KEY, "crm-s11-000002", "--epoch", "2"], "not run in epoch 2"),
        ([KEY, "--epoch", "1"], "--epoch needs a CONVERSATION"),
        ([KEY, "crm-s11-000002", "--requests"], "recorded no requests"),
        (["20260201T000000Z"], f"choose one of {KEY}"),
    ):
        result = shown("show", "small", *arguments)
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert "Traceback" not in result.output
