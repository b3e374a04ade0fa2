from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from crm_assets.conversations import Conversation

ROOT = Path(__file__).parents[2]

Document = dict[str, Any]


@pytest.fixture
def document() -> Callable[..., Document]:
    """Makes the JSON of a small, valid conversation; keywords replace top-level fields."""

    def make(conversation_id: str = "c-1", **fields: Any) -> Document:
        return {
            "conversation_id": conversation_id,
            "workflow_category": "Client Management",
            "complexity_level": "simple",
            "turns": [turn(1), turn(2, expected_args={"client_id": "{{turn_1.client_id}}"})],
            "initial_entities": {"seed_data": {"Client": {"id-1": {"name": "Acme"}}}},
            **fields,
        }

    return make


@pytest.fixture
def conversation(document: Callable[..., Document]) -> Callable[..., Conversation]:
    """Makes a small, valid conversation; keywords replace top-level fields."""
    return lambda *args, **fields: Conversation.model_validate(document(*args, **fields))


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines (documents, or bytes as they are) to a dataset file."""

    def write(*lines: Document | bytes, newline: bytes = b"\n") -> Path:
        path = tmp_path / "data.jsonl"
        raw = [line if isinstance(line, bytes) else orjson.dumps(line) for line in lines]
        path.write_bytes(b"".join(line + newline for line in raw))
        return path

    return write


def turn(number: int, **fields: Any) -> Document:
    """The JSON of a valid turn."""
    return {
        "turn_id": number,
        "user_utterance": "Find Acme.",
        "expected_tool": "client_search",
        "expected_args": {"name": "Acme"},
        **fields,
    }
