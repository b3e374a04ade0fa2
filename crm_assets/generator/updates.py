"""Turns that change fields of a record."""

from __future__ import annotations

from typing import Any

from crm_assets.crm.entities import ENTITIES
from crm_assets.generator.conversation_builder import ConversationBuilder, join_words, money
from crm_assets.generator.rows import Fields, Row

__all__ = ["play_changes", "play_update"]

_CHANGES = (
    "Set {changes} on {label}.",
    "Update {label}: {assignments}.",
    "Please change {label} so that it has {assignments}.",
    "For {label}, set {changes}.",
    "On {label}, the following changed: {assignments}.",
    "Modify {label}: {assignments}.",
    "{label} needs an update: {assignments}.",
)


def play_update(builder: ConversationBuilder, row: Row, choices: Fields, count: int) -> None:
    """Add a turn that changes `count` of the `choices` of `row`."""
    chosen = builder.rng.sample(sorted(choices), count)
    play_changes(builder, row, {name: choices[name] for name in chosen})


def play_changes(builder: ConversationBuilder, row: Row, changes: Fields) -> None:
    """Add a turn that applies `changes` to `row`."""
    label, pointer = builder.label(row)
    asked = {name: _asked(builder, name, value) for name, value in changes.items()}
    utterance = builder.phrase(
        _CHANGES,
        label=label,
        changes=join_words([f"the {_word(name)} to {value}" for name, value in asked.items()]),
        assignments=join_words([f"{_word(name)} {value}" for name, value in asked.items()]),
    )
    row.update(changes)
    utterance = utterance.replace('.".', '."')  # a quoted remark that ends the sentence
    word = row.entity.lower()
    tool = f"modify_{word}"
    args = {ENTITIES[row.entity].id_field: pointer, **builder.spelled(tool, changes)}
    shown = join_words([f"{_word(name)} {_shown(name, value)}" for name, value in changes.items()])
    builder.play(tool, args, utterance, reply=f"Updated {word} {row.name}: {shown}.", gives=row)


def _word(name: str) -> str:
    return name.replace("_", " ")


def _asked(builder: ConversationBuilder, name: str, value: Any) -> str:
    if name == "amount":
        return builder.money(value)
    if name == "probability":
        return f"{value}%"
    return f'"{value}"' if name in ("notes", "name", "address") else str(value)


def _shown(name: str, value: Any) -> str:
    if name == "amount":
        return money(value)
    return f"{value}%" if name == "probability" else str(value).rstrip(".")
