from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest

from crm_assets.errors import CrmAssetsError
from crm_assets.llm import Caller, ModelClient, ModelError, make_redactor
from crm_assets.llm.redaction import REDACTED
from tests.llm.asking import ask, spec_of, with_client
from tests.llm.scripted_server import Recorded, Scripted, ScriptedServer, broken, refused

CANARIES = {
    "OPENAI_API_KEY": "canary-openai-0815",
    "GEMINI_API_KEY": "canary-gemini-0815",
    "ANTHROPIC_API_KEY": "canary-anthropic-0815",
    "SERVICE_TOKEN": "canary-token-0815",
    "DB_PASSWORD": "canary-password-0815",
    "STORAGE__DATABASE_URL": "postgresql://atlas:canary%2Durl-0815@db/atlas",
}


@pytest.mark.parametrize(
    ("text_", "secret"),
    [
        ("key canary-openai-0815 is wrong", "canary-openai"),
        ("token=canary-token-0815", "canary-token"),
        ("pw canary-password-0815;", "canary-password"),
        ("canary%2Durl-0815", "canary%2Durl"),
        ("canary-url-0815", "canary-url"),
        ("Incorrect API key provided: sk-proj-abc*****xyz.", "sk-proj"),
        ("Authorization: Bearer abc.def-ghi", "abc.def"),
        ("https://x/models?key=AIzaSyABCDEFGHIJ&alt=json", "AIzaSy"),
        ("postgresql://user:hunter2@host/db", "hunter2"),
    ],
)
def test_secrets_are_replaced(text_: str, secret: str):
    redacted = make_redactor(CANARIES)(text_)
    assert secret not in redacted
    assert REDACTED in redacted


@pytest.mark.parametrize(
    "text_", ["the client asked for a task-force", "bearer of news", "user: password", "sk", "x_TOKEN", ""]
)
def test_ordinary_text_is_left_alone(text_: str):
    assert make_redactor({**CANARIES, "OTHER_TOKEN": "news", "EMPTY_API_KEY": ""})(text_) == text_


def echo(question: str, request: Recorded) -> Scripted:
    """A provider that quotes what it was sent, in as many places as there are."""
    key = str(dict(request.headers))
    if question == "malformed":
        return broken({"choices": "none", key: key})
    return refused(int(question), f"you sent {key}", headers={"x-echo": key[:99]}, code=key)


def everything_in(error: BaseException) -> str:
    """All that an error says or holds on to, and all behind it."""
    text_ = "".join(traceback.format_exception(error))
    chain: BaseException | None = error
    while chain is not None:
        text_ += repr(chain) + repr(vars(chain))
        chain = chain.__cause__ or chain.__context__
    return text_


class Places:
    """Where a key could turn up."""

    def __init__(
        self, ledger: Path, log: pytest.LogCaptureFixture, output: pytest.CaptureFixture[str]
    ) -> None:
        self.ledger = ledger
        self.told: list[str] = []
        self._log = log
        self._output = output
        log.set_level(logging.INFO)

    def all(self) -> str:
        return (
            self.ledger.read_text()
            + "".join(self.told)
            + self._log.text
            + "".join(self._output.readouterr())
        )


@pytest.fixture
def places(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Places:
    return Places(tmp_path / "ledger.jsonl", caplog, capfd)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "gpt-4.1-mini"), ("gemini", "gemini-2.5-flash"), ("anthropic", "claude-sonnet-4-5")],
)
@pytest.mark.parametrize("question", ["400", "401", "403", "404", "422", "429", "500", "malformed"])
def test_keys_are_nowhere_to_be_found(provider: str, model: str, question: str, places: Places):
    # Each provider puts a question in a form of its own; which one it is, the server knows from here.
    with ScriptedServer(lambda request: echo(question, request)) as server:
        spec = spec_of(server, provider=provider, model=model)

        async def provoke(client: ModelClient) -> None:
            with pytest.raises(CrmAssetsError) as raised:
                await client.complete(Caller("s", "student"), ask(spec))
            places.told.append(everything_in(raised.value))

        with_client(provoke, places.ledger, environment=CANARIES)
        assert "canary" in str(server.requests[0].headers)  # it did get the key
    assert places.ledger.read_text()
    assert places.told
    assert "canary" not in places.all()


def test_an_error_holds_on_to_nothing_that_knows_a_key():
    with ScriptedServer(refused(400)) as server, pytest.raises(ModelError) as raised:
        with_client(
            lambda client: client.complete(Caller("s", "student"), ask(spec_of(server))),
            environment=CANARIES,
        )
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
