"""Gates: checks that a proposed entry must pass to enter the playbook."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictStr, ValidationError

from crm_assets.atlas.config import LearningConfig
from crm_assets.atlas.playbook.cues import cue_problem
from crm_assets.atlas.playbook.generality import particulars
from crm_assets.atlas.playbook.learning_state import (
    Audience,
    Cue,
    Gate,
    PlaybookAction,
    PlaybookEntry,
    RejectedEntry,
    Scope,
)
from crm_assets.atlas.playbook.scores import entry_texts, score_entry

__all__ = ["check_entry", "one_line"]

_LONGEST_ID = 80
_MOST_OVERFLOW = 4
"""Entries longer than this multiple of `max_text_length` are rejected."""

_NOT_PRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Classes, anchors and counts of a regular expression: not literal text.
_NO_TEXT = re.compile(r"\\[A-Za-z]|\{\d*,?\d*\}")
_ESCAPED = re.compile(r"\\(\W)")


def one_line(text: str) -> str:
    """Return `text` in one line: runs of control characters and blanks become one blank."""
    return " ".join(_NOT_PRINTED.sub(" ", text).split())


def _text(value: object) -> object:
    """Accept null as an empty text and a list of texts as one text."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = "; ".join(value)
    return one_line(value) if isinstance(value, str) else value


def _category(value: object) -> object:
    return value if value in ("reinforcement", "differentiation") else "differentiation"


def _audience(value: object) -> object:
    return "student" if value is None else value


_Text = Annotated[StrictStr, BeforeValidator(_text)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _CueForm(_Form):
    type: _Text = ""
    pattern: _Text = ""
    description: _Text = ""


class _ActionForm(_Form):
    imperative: _Text = ""
    runtime_handle: _Text = ""
    tool_name: _Text = ""
    arguments: dict[str, object] | None = None


class _ScopeForm(_Form):
    category: Annotated[Literal["reinforcement", "differentiation"], BeforeValidator(_category)] = (
        "differentiation"
    )
    constraints: _Text = ""
    applies_when: _Text = ""


class _EntryForm(_Form):
    """The form of an entry, checked before its content."""

    id: _Text = ""
    audience: Annotated[Audience, BeforeValidator(_audience)] = "student"
    cue: _CueForm
    action: _ActionForm
    expected_effect: _Text = ""
    scope: _ScopeForm | None = None


def check_entry(
    raw: object, config: LearningConfig, handles: Collection[str]
) -> PlaybookEntry | RejectedEntry:
    """Check a proposed entry; return it with its scores, or the reason of its rejection.

    Keys of `raw` that the learner does not own (impact, rubric, provenance) are ignored.

    Args:
        raw: one of the learner's `playbook_entries`: any JSON value.
        config: gates, schema and rubric weights.
        handles: allowed tools where `allowed_runtime_handles` is empty.
    """
    try:
        form = _EntryForm.model_validate(raw)
        orjson.dumps(form.action.arguments)
    except ValidationError as error:
        return _rejected(_id_of(raw), "form", _first_error(error))
    except TypeError:
        return _rejected(_id_of(raw), "form", "its arguments are not JSON")
    kind = form.cue.type.lower()
    if kind not in config.schema_.cue_types:
        known = ", ".join(config.schema_.cue_types)
        return _rejected(form.id, "cue", f"its cue type is {kind[:40] or 'missing'}, not one of: {known}")
    entry = _entry(form, kind)
    longest = config.gates.max_text_length * _MOST_OVERFLOW
    if sum(map(len, entry_texts(entry))) > longest:
        return _rejected(entry.id, "form", f"its texts are longer than {longest:,} characters")
    problems = _problems(entry, config, config.schema_.allowed_runtime_handles or handles)
    for gate, problem in problems.items():
        if problem is not None and _is_on(gate, config):
            return _rejected(entry.id, gate, problem)
    rubric = score_entry(
        entry,
        config,
        actionable=problems["actionability"] is None,
        hookable=problems["cue"] is None,
        general=problems["generality"] is None,
    )
    return entry.model_copy(update={"rubric": rubric})


def _entry(form: _EntryForm, kind: Any) -> PlaybookEntry:
    handle = form.action.runtime_handle or form.action.tool_name or None
    scope = form.scope or _ScopeForm()
    return PlaybookEntry(
        id=form.id if 0 < len(form.id) <= _LONGEST_ID else _made_id(form, kind, handle),
        audience=form.audience,
        cue=Cue(type=kind, pattern=form.cue.pattern, description=form.cue.description or None),
        action=PlaybookAction(
            imperative=form.action.imperative,
            runtime_handle=handle,
            tool_name=form.action.tool_name or None,
            arguments=form.action.arguments,
        ),
        expected_effect=form.expected_effect,
        scope=Scope(
            category=scope.category,
            constraints=scope.constraints,
            applies_when=scope.applies_when or None,
        ),
    )


def _made_id(form: _EntryForm, kind: str, handle: str | None) -> str:
    parts = "\n".join((form.audience, kind, form.cue.pattern, handle or ""))
    digest = hashlib.sha256(parts.encode()).hexdigest()[:8]
    return f"{(handle or 'entry')[: _LONGEST_ID - 9]}-{digest}"


def _problems(
    entry: PlaybookEntry, config: LearningConfig, handles: Collection[str]
) -> dict[Gate, str | None]:
    """Return the problem that each gate finds, None for none, in the order of the gates."""
    return {
        "actionability": _actionability_problem(entry, handles),
        "cue": cue_problem(entry.cue.type, entry.cue.pattern),
        "generality": _generality_problem(entry, config.gates.banned_incident_tokens),
    }


def _actionability_problem(entry: PlaybookEntry, handles: Collection[str]) -> str | None:
    if not entry.action.imperative:
        return "it does not say what to do"
    if entry.action.runtime_handle is None:
        return "it names no tool (runtime_handle)"
    if entry.action.runtime_handle not in handles:
        return f"{entry.action.runtime_handle[:_LONGEST_ID]} is not an allowed tool"
    return None


def _generality_problem(entry: PlaybookEntry, banned: tuple[str, ...]) -> str | None:
    texts = list(entry_texts(entry))
    if entry.cue.type == "regex":
        texts = [_ESCAPED.sub(r"\1", _NO_TEXT.sub(" ", entry.cue.pattern)), *texts[1:]]
    if entry.action.arguments:
        texts.append(orjson.dumps(entry.action.arguments).decode())
    for text in texts:
        found = particulars(text, banned)
        if found is not None:
            return f"it names {found}"
    return None


def _is_on(gate: Gate, config: LearningConfig) -> bool:
    return {
        "form": True,
        "actionability": config.gates.enforce_actionability,
        "cue": config.gates.enforce_cue,
        "generality": config.gates.enforce_generality,
    }[gate]


def _rejected(entry_id: str | None, gate: Gate, problem: str) -> RejectedEntry:
    name = entry_id[:_LONGEST_ID] if entry_id else None
    return RejectedEntry(id=name, gate=gate, reason=f"Rejected because {problem}.")


def _id_of(raw: object) -> str | None:
    name = raw.get("id") if isinstance(raw, dict) else None
    return one_line(name) if isinstance(name, str) else None


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = first["msg"].rstrip(".")
    return f"its {where} is malformed ({reason})" if where else "it is not a JSON object"
