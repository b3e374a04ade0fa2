"""Which of the entries that a learner proposes get into the playbook."""

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
    Action,
    Audience,
    Cue,
    PlaybookEntry,
    RejectedEntry,
    Scope,
)
from crm_assets.atlas.playbook.scores import entry_texts, score_entry

__all__ = ["check_entry", "one_line"]

_LONGEST_ID = 80
_MOST_OVERFLOW = 4
"""An entry of more than this many times `max_text_length` is an essay, whatever its other merits."""

_NOT_PRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Of a regular expression: classes, anchors and counts, which are no text.
_NO_TEXT = re.compile(r"\\[A-Za-z]|\{\d*,?\d*\}")
_ESCAPED = re.compile(r"\\(\W)")

Gate = Literal["form", "actionability", "cue", "generality"]


def one_line(text: str) -> str:
    """`text` in one line: control characters and runs of blanks become one blank."""
    return " ".join(_NOT_PRINTED.sub(" ", text).split())


def _text(value: object) -> object:
    """Lenient where the meaning is plain: nothing is an empty text, a list of texts is their sequence."""
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
    """What a learner must write, before any gate looks at what it says."""

    id: _Text = ""
    audience: Annotated[Audience, BeforeValidator(_audience)] = "student"
    cue: _CueForm
    action: _ActionForm
    expected_effect: _Text = ""
    scope: _ScopeForm | None = None


def check_entry(
    raw: object, config: LearningConfig, handles: Collection[str]
) -> PlaybookEntry | RejectedEntry:
    """The entry that `raw` is, scored, or why it does not get in.

    What is in `raw` beyond a learner's part (impact, rubric, provenance) is left out.

    Args:
        raw: one of the learner's `playbook_entries`: any JSON value.
        config: the gates, what a schema allows, and the weights of scores.
        handles: the tools that there are, where `allowed_runtime_handles` does not say which may be named.
    """
    try:
        form = _EntryForm.model_validate(raw)
        orjson.dumps(form.action.arguments)
    except ValidationError as error:
        return _rejected(_id_of(raw), "form", _first_error(error))
    except TypeError:
        return _rejected(_id_of(raw), "form", "its arguments are no JSON")
    kind = form.cue.type.lower()
    if kind not in config.schema_.cue_types:
        known = ", ".join(config.schema_.cue_types)
        return _rejected(
            form.id, "cue", f"the type of its cue is {kind[:40] or 'missing'}, not one of: {known}"
        )
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
        action=Action(
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
    """What each gate has to say of an entry, None for nothing, in the order in which they stand."""
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
        return f"{entry.action.runtime_handle[:_LONGEST_ID]} is no tool that it may name"
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
    return f"its {where} is of the wrong form ({reason})" if where else "it is no JSON object"
