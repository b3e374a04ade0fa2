"""One record of the CRM as a generated conversation knows it, and the values that records hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crm_assets.crm.entities import (
    CLIENT,
    CLOSED_STAGES,
    COMPANY,
    CONTRACT,
    ENTITIES,
    OPPORTUNITY,
    QUOTE,
)
from crm_assets.crm.texts import Text

__all__ = [
    "CANCELED",
    "CLIENT_STATUSES",
    "COMPANY_TYPES",
    "CONTRACT_STATUSES",
    "OPEN_STAGES",
    "QUOTE_STATUSES",
    "Fields",
    "Row",
]

CANCELED = "Canceled"
CLIENT_STATUSES = CLIENT.choices("status")
OPEN_STAGES = tuple(stage for stage in OPPORTUNITY.choices("stage") if stage not in CLOSED_STAGES)
QUOTE_STATUSES = tuple(status for status in QUOTE.choices("status") if status != CANCELED)
CONTRACT_STATUSES = CONTRACT.choices("status")
COMPANY_TYPES = COMPANY.choices("type")

Fields = dict[str, Any]
"""JSON values by the name of a field or argument."""


@dataclass(slots=True, eq=False)
class Row:
    """One record: its own fields, what it belongs to, and how a turn can name it."""

    entity: str
    fields: Fields
    row_id: str | None
    """None where the CRM makes the ID: only a reference can name it then."""
    client: Row | None = None
    opportunity: Row | None = None
    target: Row | None = None
    """The row that a document or note is attached to."""
    references: list[tuple[int, str]] = field(default_factory=list)
    """Turn and field of every result that holds the ID."""
    snapshots: list[tuple[int, int]] = field(default_factory=list)
    """Turn and version of every result that is this row."""
    version: int = 0

    @property
    def name(self) -> str:
        """Return the name that a person uses for it; the entity's, where it has none."""
        if self.entity == "Contact":
            return f"{self.fields['first_name']} {self.fields['last_name']}"
        return str(self.fields.get("name") or self.fields.get("file_name") or self.entity)

    @property
    def is_open(self) -> bool:
        """Return False for an opportunity that was won or lost, True for everything else."""
        return self.fields.get("stage") not in CLOSED_STAGES

    @property
    def is_live(self) -> bool:
        """Return False for a quote that was canceled, True for everything else."""
        return self.fields.get("status") != CANCELED

    def update(self, changes: Fields) -> None:
        """Apply `changes`; the results of earlier turns are out of date then."""
        self.fields.update(changes)
        self.version += 1

    def as_seed(self) -> Fields:
        """Return the row as `seed_data` writes it."""
        seed = dict(self.fields)
        if self.client is not None:
            seed["client_id"] = self.client.row_id
        if self.opportunity is not None:
            seed["opportunity_id"] = self.opportunity.row_id
        if self.target is not None:
            seed["entity_type"] = self.target.entity
            seed["entity_id"] = self.target.row_id
        return seed

    def matches(self, criteria: Fields) -> bool:
        """Return True if a search finds it; a row as a criterion stands for its ID."""
        return all(self._field_matches(name, wanted) for name, wanted in criteria.items())

    def _field_matches(self, name: str, wanted: Any) -> bool:
        if isinstance(wanted, Row):
            return any(parent is wanted for parent in (self, self.client, self.opportunity))
        value = self.fields.get(name)
        if isinstance(ENTITIES[self.entity].fields[name], Text):  # found by a part, as the CRM does
            return value is not None and str(wanted).lower() in str(value).lower()
        return bool(value == wanted)
