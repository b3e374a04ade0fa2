"""One conversation in the making: its turns, the rows that it is about, and how it names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from crm_assets.conversations.conversation import ExpectedResponse, Turn
from crm_assets.conversations.references import Reference, find_references
from crm_assets.crm.entities import ENTITIES, Entity
from crm_assets.crm.tools import TOOLS
from crm_assets.generator.crm_state import CrmState, new_uuid
from crm_assets.generator.rng import SeededRng
from crm_assets.generator.rows import Fields, Row

__all__ = ["ConversationBuilder", "TurnTemplate", "about", "details", "join_words", "money"]

_OPENERS = ("Hi. ", "Hello. ", "Good morning. ", "Quick one: ", "Hi there. ")
_CONNECTORS = ("Thanks. ", "OK. ", "Good. ", "Great, thank you. ", "One more thing. ", "Next. ")
_CLOSERS = (" Thanks!", " Thank you.", " That would help.")

_LITERAL_ID = 0.35
"""Probability that a row that a turn can refer to is still named by its ID."""
_STAY = 0.85
"""Probability that the conversation stays with its current rows."""
_SILENT = 0.12
"""Share of the turns without an expected reply."""


class ConversationBuilder:
    """Collects turns and keeps the CRM state in step with them."""

    def __init__(self, rng: SeededRng) -> None:
        self.rng = rng
        self.state = CrmState(rng)
        self.turns: list[Turn] = []
        self.seeds = self.state.seed_data()
        self._focus: dict[str, Row] = {}

    @property
    def number(self) -> int:
        """Return the number of the turn that comes next."""
        return len(self.turns) + 1

    def chance(self, probability: float) -> bool:
        """Return True with the given probability (0–1)."""
        return self.rng.chance(probability)

    def phrase(self, templates: Sequence[str], **values: Any) -> str:
        """Return one of `templates`, filled with `values`."""
        return self.rng.choice(templates).format(**values)

    def some(self, fields: Fields, share: float = 0.4) -> Fields:
        """Return a random part of `fields`, each with the probability `share`."""
        return {name: value for name, value in fields.items() if self.chance(share)}

    def pick(self, entity: str, where: Callable[[Row], bool] | None = None) -> Row | None:
        """Return a row to talk about: the current one, one related to it, or any.

        None if no row of `entity` fulfills `where`.
        """
        rows = [row for row in self.state.rows[entity] if where is None or where(row)]
        if not rows:
            return None
        current = self._focus.get(entity)
        if current is not None and current in rows and self.chance(_STAY):
            return current
        related = [row for row in rows if self._is_related(row)]
        row = self.rng.choice(related if related and self.chance(_STAY) else rows)
        self.focus(row)
        return row

    def pick_client(self) -> Row:
        """Return a client to talk about."""
        client = self.pick("Client")
        assert client is not None  # clients are seeded, and no turn deletes one
        return client

    def focus(self, row: Row) -> None:
        """Make `row` and its parents the current rows of the conversation."""
        self._focus[row.entity] = row
        for parent in (row.opportunity, row.client):
            if parent is not None:
                self.focus(parent)

    def point(self, row: Row) -> str:
        """Return `row`'s ID for arguments and text: the ID itself, or a reference to a turn."""
        if row.row_id is not None and (not row.references or self.chance(_LITERAL_ID)):
            return row.row_id
        return str(Reference(*self.rng.choice(row.references[-3:])))  # people name the latest mentions

    def label(self, row: Row) -> tuple[str, str]:
        """Return a text that names `row` as a person would, and the ID or reference in it."""
        pointer = self.point(row)
        word = row.entity.lower()
        if row.entity in ("Client", "Opportunity", "Contact") and self.chance(0.5):
            return f"{word} {row.name} ({pointer})", pointer
        return f"{word} {pointer}", pointer

    def pointed(self, criteria: Fields) -> Fields:
        """Return `criteria` with the IDs of rows, or references to them, in the place of the rows."""
        return {
            name: self.point(value) if isinstance(value, Row) else value for name, value in criteria.items()
        }

    def amount_of(self, row: Row, field: str = "amount") -> tuple[str, Any]:
        """Return `row`'s amount as text and as an argument: a number, or a reference to it."""
        current = [turn for turn, version in row.snapshots if version == row.version]
        if current and self.chance(0.4):
            reference = str(Reference(current[-1], field))
            return reference, reference
        value = row.fields[field]
        return self.money(value), value

    def money(self, value: float) -> str:
        """Return an amount in one of the forms that people write."""
        dollars = money(value)
        plain = f"{value:.2f}".removesuffix(".00")
        return self.rng.choice((dollars, dollars, dollars, f"{dollars[1:]} USD", plain))

    def keep_id(self, entity: Entity, *documents: Fields) -> str | None:
        """Return the ID that a new record brings from another system, added to `documents`.

        None for most records: the CRM makes their IDs.
        """
        if not self.chance(0.12):
            return None
        row_id = new_uuid(self.rng)
        for document in documents:
            document[entity.id_field] = row_id
        return row_id

    def spelled(self, tool: str, fields: Fields) -> Fields:
        """Return `fields` as arguments of their own, or wrapped in one: the tool takes both."""
        wrapper = TOOLS[tool].bag
        assert wrapper is not None
        return {wrapper: fields} if self.chance(0.5) else fields

    def act(
        self, row: Row, tool: str, phrases: Sequence[str], reply: str, *, gives: Row | None = None
    ) -> None:
        """Add a turn whose only argument is the ID of `row`; the other arguments are those of `play`."""
        label, pointer = self.label(row)
        args = {TOOLS[tool].entity.id_field: pointer}
        self.play(tool, args, self.phrase(phrases, label=label), reply=reply, gives=gives)

    def play(
        self,
        tool: str,
        args: Fields,
        utterance: str,
        *,
        reply: str | None = None,
        gives: Row | None = None,
        failure: tuple[str, str] | None = None,
    ) -> None:
        """Add a turn.

        Args:
            tool: the tool that answers it.
            args: its arguments.
            utterance: the user's request.
            reply: the agent's expected reply; some turns get none.
            gives: the row that the result is, or that it starts with; later turns may refer to it.
            failure: category and part of the error's message, where the tool must refuse.
        """
        mentioned = find_references([utterance, args])
        self.turns.append(
            Turn(
                turn_id=self.number,
                user_utterance=self._polite(sentence(utterance)),
                expected_tool=TOOLS[tool].name,
                expected_args=args,
                references_previous_turns=tuple(sorted({found.turn for found in mentioned})),
                expect_success=failure is None,
                expected_error_substring=failure[1] if failure else None,
                failure_category=failure[0] if failure else None,
                expected_response=None if failure else self._response(reply),
            )
        )
        if gives is not None:
            self._remember(gives, len(self.turns))

    def _remember(self, row: Row, turn: int) -> None:
        row.snapshots.append((turn, row.version))
        for named in (row, row.client, row.opportunity):
            if named is not None:
                named.references.append((turn, ENTITIES[named.entity].id_field))
        self.focus(row)

    def _response(self, reply: str | None) -> ExpectedResponse | None:
        if reply is None or self.chance(_SILENT):
            return None
        return ExpectedResponse(text=reply, answers=(reply,))

    def _polite(self, utterance: str) -> str:
        if self.chance(0.2):
            utterance = self.rng.choice(_CONNECTORS if self.turns else _OPENERS) + utterance
        if self.chance(0.06) and not utterance.endswith("}}"):
            utterance += self.rng.choice(_CLOSERS)
        return utterance

    def _is_related(self, row: Row) -> bool:
        parents = (row.opportunity, row.client, row.target)
        return any(parent is not None and self._focus.get(parent.entity) is parent for parent in parents)


TurnTemplate = Callable[[ConversationBuilder], None]
"""Adds one turn, and before it the turns that it needs."""


def about(
    entity: str, *, otherwise: TurnTemplate, where: Callable[[Row], bool] | None = None
) -> Callable[[Callable[[ConversationBuilder, Row], None]], TurnTemplate]:
    """Make a turn template of a function that takes a row of `entity` to talk about.

    Args:
        entity: name of the entity.
        otherwise: the template to use while no such row exists.
        where: the rows that will do.
    """

    def decorate(play: Callable[[ConversationBuilder, Row], None]) -> TurnTemplate:
        @wraps(play)
        def template(builder: ConversationBuilder) -> None:
            row = builder.pick(entity, where)
            if row is None:
                otherwise(builder)
            else:
                play(builder, row)

        return template

    return decorate


def sentence(text: str) -> str:
    """Return `text` with a capital at its start."""
    return text[:1].upper() + text[1:]


def details(values: Fields, lead: str = ", with ") -> str:
    """Return further fields as people add them: `, with industry Retail and owner Dana Cole`."""
    listed = [f"{name.replace('_', ' ')} {value}" for name, value in values.items()]
    return f"{lead}{join_words(listed)}" if listed else ""


def money(value: float) -> str:
    """Return an amount of dollars as replies write it."""
    return f"${value:,.2f}".removesuffix(".00")


def join_words(words: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    if len(words) < 2:  # noqa: PLR2004 - one word needs no joining
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
