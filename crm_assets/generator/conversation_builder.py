"""One conversation in the making: turns, what is being talked about, and how to name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crm_assets.conversations.conversation import ExpectedResponse, Turn
from crm_assets.conversations.references import find_references
from crm_assets.generator.crm_state import World
from crm_assets.generator.rng import Dice
from crm_assets.generator.rows import ID_FIELDS, Row

__all__ = ["Scene", "join_words", "money"]

_OPENERS = ("Hi. ", "Hello. ", "Good morning. ", "Quick one: ", "Hi there. ")
_CONNECTORS = ("Thanks. ", "OK. ", "Good. ", "Great, thank you. ", "One more thing. ", "Next. ")
_CLOSERS = (" Thanks!", " Thank you.", " That would help.")

_LITERAL_ID = 0.35
"""How often a row that a turn can refer to is still named by its ID."""
_STAY = 0.85
"""How often the conversation stays with what it was about."""
_SILENT = 0.12
"""How many turns have no expected reply."""


class Scene:
    """Collects turns and keeps the world in step with them."""

    def __init__(self, rng: Dice) -> None:
        self.rng = rng
        self.world = World(rng)
        self.turns: list[Turn] = []
        self.seeds = self.world.seed_data()
        self._focus: dict[str, Row] = {}

    @property
    def number(self) -> int:
        """The number of the turn that comes next."""
        return len(self.turns) + 1

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self.rng.chance(probability)

    def phrase(self, templates: Sequence[str], **values: Any) -> str:
        """One of `templates`, filled."""
        return self.rng.choice(templates).format(**values)

    def pick(self, entity: str, where: Callable[[Row], bool] | None = None) -> Row | None:
        """A row to talk about: the one at hand, one that belongs to it, or any; None if there is none."""
        rows = [row for row in self.world.rows[entity] if where is None or where(row)]
        if not rows:
            return None
        current = self._focus.get(entity)
        if current is not None and current in rows and self.chance(_STAY):
            return current
        near = [row for row in rows if self._belongs(row)]
        row = self.rng.choice(near if near and self.chance(_STAY) else rows)
        self.focus(row)
        return row

    def focus(self, row: Row) -> None:
        """Make `row`, and what it belongs to, what the conversation is about."""
        self._focus[row.entity] = row
        for parent in (row.opportunity, row.client):
            if parent is not None:
                self.focus(parent)

    def point(self, row: Row) -> str:
        """What names `row`'s ID, in arguments and in text alike: the ID, or a reference to a turn."""
        if row.row_id is not None and (not row.references or self.chance(_LITERAL_ID)):
            return row.row_id
        turn, field = self.rng.choice(row.references[-3:])  # as people do, the latest mentions
        return f"{{{{turn_{turn}.{field}}}}}"

    def label(self, row: Row) -> tuple[str, str]:
        """How a person would name `row`, and what names its ID inside of that."""
        pointer = self.point(row)
        word = row.entity.lower()
        if row.entity in ("Client", "Opportunity", "Contact") and self.chance(0.5):
            return f"{word} {row.name} ({pointer})", pointer
        return f"{word} {pointer}", pointer

    def amount_of(self, row: Row, field: str = "amount") -> tuple[str, Any]:
        """`row`'s amount, in text and as an argument: a number, or a reference to it."""
        current = [turn for turn, version in row.snapshots if version == row.version]
        if current and self.chance(0.4):
            reference = f"{{{{turn_{current[-1]}.{field}}}}}"
            return reference, reference
        value = row.fields[field]
        return self.money(value), value

    def money(self, value: float) -> str:
        """An amount as people write it."""
        dollars = money(value)
        plain = f"{value:.2f}".removesuffix(".00")
        return self.rng.choice((dollars, dollars, dollars, f"{dollars[1:]} USD", plain))

    def play(
        self,
        tool: str,
        args: dict[str, Any],
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
            utterance: what the user says.
            reply: what the agent should say; some turns are left without.
            gives: the row that the result is, or that it starts with; later turns may refer to it.
            failure: category and part of the error's message, where the tool must refuse.
        """
        mentioned = find_references([utterance, args])
        self.turns.append(
            Turn(
                turn_id=self.number,
                user_utterance=self._polite(utterance),
                expected_tool=tool,
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
        row.references.append((turn, ID_FIELDS[row.entity]))
        row.snapshots.append((turn, row.version))
        if row.client is not None:
            row.client.references.append((turn, "client_id"))
        if row.opportunity is not None:
            row.opportunity.references.append((turn, "opportunity_id"))
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

    def _belongs(self, row: Row) -> bool:
        parents = (row.opportunity, row.client, row.target)
        return any(parent is not None and self._focus.get(parent.entity) is parent for parent in parents)


def money(value: float) -> str:
    """An amount as replies write it."""
    return f"${value:,.2f}".removesuffix(".00")


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:  # noqa: PLR2004 - one word needs no joining
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
