"""A split by content: copies on one side, every learning key on both."""

from __future__ import annotations

import pytest

from crm_assets.conversations import Conversation
from crm_assets.conversations.split import Split, Subset, split_conversations
from crm_assets.errors import InputError


def conversation(name: str, work: int, workflow: str = "A", complexity: str = "simple") -> Conversation:
    """A conversation whose content is a number; equal numbers are copies."""
    turn = {"turn_id": 1, "user_utterance": f"Do {work}.", "expected_tool": "client_search"}
    return Conversation.model_validate(
        {
            "conversation_id": name,
            "workflow_category": workflow,
            "complexity_level": complexity,
            "turns": [turn],
        }
    )


MANY = [
    conversation(f"{key}-{number}", hash((key, number)) % 10**6, key)
    for key in "ABC"
    for number in range(10)
]


def test_every_learning_key_is_on_both_sides_in_the_share_asked_for() -> None:
    parts = split_conversations(MANY, Split(share=0.3))
    for key in "ABC":
        taught = [name for name, part in parts.items() if name.startswith(key) and part == "teach"]
        assert len(taught) == 3
    assert len(parts) == len(MANY)


def test_the_seed_alone_decides() -> None:
    first = split_conversations(MANY, Split(seed=1))
    assert split_conversations(reversed(MANY), Split(seed=1)) == first
    assert split_conversations(MANY, Split(seed=2)) != first


def test_copies_are_on_one_side_under_whatever_label() -> None:
    twice = [
        *MANY,
        *(one.model_copy(update={"conversation_id": f"{one.conversation_id}'"}) for one in MANY),
    ]
    twice += [MANY[0].model_copy(update={"conversation_id": "other-label", "workflow_category": "B"})]
    parts = split_conversations(twice, Split())
    assert all(parts[one.conversation_id] == parts[f"{one.conversation_id}'"] for one in MANY)
    assert parts["other-label"] == parts[MANY[0].conversation_id]


def test_a_key_with_one_content_is_left_out() -> None:
    lonely = [conversation("one", 1, "Z"), conversation("copy", 1, "Z")]
    assert not {"one", "copy"} & split_conversations([*MANY, *lonely], Split()).keys()
    with pytest.raises(InputError, match="has two different conversations"):
        split_conversations(lonely, Split())


def test_the_parts_are_the_dataset_in_its_order_up_to_the_limit() -> None:
    split = Split(limit=20)
    taught, held_out = (list(Subset(part=part, split=split).of(MANY)) for part in ("teach", "held-out"))  # type: ignore[arg-type]
    assert sorted([*taught, *held_out], key=MANY.index) == MANY[:20]
    assert taught == sorted(taught, key=MANY.index)
