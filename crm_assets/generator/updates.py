"""Turns that change fields of a record."""

from __future__ import annotations

from typing import Any

from crm_assets.generator.conversation_builder import Scene, join_words, money
from crm_assets.generator.rows import ID_FIELDS, Row
from crm_assets.generator.searches import arguments

__all__ = ["play_update"]

_CHANGES = (
    "Set {changes} on {label}.",
    "Update {label}: {assignments}.",
    "Please change {label} so that it has {assignments}.",
    "For {label}, set {changes}.",
    "On {label}, the following changed: {assignments}.",
    "Modify {label}: {assignments}.",
    "{label} needs an update: {assignments}.",
)


def play_update(scene: Scene, row: Row, changes: dict[str, Any]) -> None:
    """A `modify_…` turn, with the fields as arguments or inside `updates`."""
    label, pointer = scene.label(row)
    told = {name: _told(scene, name, value) for name, value in changes.items()}
    utterance = scene.phrase(
        _CHANGES,
        label=label,
        changes=join_words([f"the {_word(name)} to {value}" for name, value in told.items()]),
        assignments=join_words([f"{_word(name)} {value}" for name, value in told.items()]),
    )
    row.update(changes)
    utterance = utterance.replace('.".', '."')  # a quoted remark that ends the sentence
    word = row.entity.lower()
    args = {ID_FIELDS[row.entity]: pointer, **arguments(scene, changes, "updates")}
    shown = join_words([f"{_word(name)} {_shown(name, value)}" for name, value in changes.items()])
    reply = f"Updated {word} {row.name}: {shown}."
    scene.play(f"modify_{word}", args, utterance[:1].upper() + utterance[1:], reply=reply, gives=row)


def _word(name: str) -> str:
    return name.replace("_", " ")


def _told(scene: Scene, name: str, value: Any) -> str:
    if name == "amount":
        return scene.money(value)
    if name == "probability":
        return f"{value}%"
    return f'"{value}"' if name in ("notes", "name", "address") else str(value)


def _shown(name: str, value: Any) -> str:
    if name == "amount":
        return money(value)
    return f"{value}%" if name == "probability" else str(value).rstrip(".")
