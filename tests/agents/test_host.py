from __future__ import annotations

import socket
import threading
from typing import Any

import msgspec
import pytest

from crm_assets.agents import Crm, ToolRefused
from crm_assets.agents.host import Conversation
from crm_assets.agents.messages import Began, Begin, Failed, FromAgent, Reply, Turn, encode
from tests.waiting import HANG_SECONDS


class Keeper:
    """Keeps the CRM that it was given."""

    kept: Crm

    def turn(self, user: str, crm: Crm) -> str:
        Keeper.kept = crm
        return "Kept."


def test_a_call_after_its_turn_is_refused_and_the_agents_failure():
    ours, theirs = socket.socketpair()
    ours.settimeout(HANG_SECONDS)
    serving = threading.Thread(target=Conversation(Keeper, theirs).run)
    serving.start()
    lines = ours.makefile("rb")
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(FromAgent)
    try:
        assert isinstance(decoder.decode(lines.readline()), Began)
        ours.sendall(encode(Begin([], "")) + encode(Turn("Hello", 1)))
        assert decoder.decode(lines.readline()) == Reply(1, "Kept.", {})
        with pytest.raises(ToolRefused, match="turn has ended"):
            Keeper.kept.call("client_search")
        assert decoder.decode(lines.readline()) == Failed(
            "it called client_search after its turn had ended"
        )
    finally:
        ours.shutdown(socket.SHUT_WR)
        serving.join(HANG_SECONDS)
        for each in (lines, ours, theirs):
            each.close()
