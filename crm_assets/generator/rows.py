"""One record of the CRM as a generated conversation knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CLIENT_STATUSES",
    "COMPANY_TYPES",
    "CONTRACT_STATUSES",
    "ID_FIELDS",
    "OPEN_STAGES",
    "QUOTE_STATUSES",
    "Row",
]

ID_FIELDS = {
    "Client": "client_id",
    "Contact": "contact_id",
    "Opportunity": "opportunity_id",
    "Quote": "quote_id",
    "Contract": "contract_id",
    "Document": "document_id",
    "Note": "note_id",
    "Company": "company_id",
}
CLIENT_STATUSES = ("Active", "Prospect", "Inactive")
OPEN_STAGES = ("Prospecting", "Qualification", "Proposal", "Negotiation")
QUOTE_STATUSES = ("Draft", "Sent", "Approved", "Rejected")
CONTRACT_STATUSES = ("Active", "Pending", "Expired")
COMPANY_TYPES = ("Partner", "Vendor", "Competitor")

# Substring match; everything else is compared as a whole.
_TEXT_FIELDS = frozenset(
    {"name", "industry", "email", "phone", "address", "owner", "first_name", "last_name", "title"}
)


@dataclass(slots=True, eq=False)
class Row:
    """One record: its own fields, what it belongs to, and how a turn can name it."""

    entity: str
    fields: dict[str, Any]
    row_id: str | None
    """None where the CRM makes the ID: only a reference can name it then."""
    client: Row | None = None
    opportunity: Row | None = None
    target: Row | None = None
    """What a document or note is attached to."""
    references: list[tuple[int, str]] = field(default_factory=list)
    """Turn and field of every result that holds the ID."""
    snapshots: list[tuple[int, int]] = field(default_factory=list)
    """Turn and version of every result that is this row."""
    version: int = 0

    @property
    def name(self) -> str:
        """What a person calls it."""
        if self.entity == "Contact":
            return f"{self.fields['first_name']} {self.fields['last_name']}"
        return str(self.fields.get("name") or self.fields.get("file_name") or self.entity)

    @property
    def is_closed(self) -> bool:
        """Whether it is an opportunity that was won or lost."""
        return str(self.fields.get("stage", "")).startswith("Closed")

    def update(self, changes: Mapping[str, Any]) -> None:
        """Take over `changes`; what earlier turns returned is out of date then."""
        self.fields.update(changes)
        self.version += 1

    def as_seed(self) -> dict[str, Any]:
        """The row as `seed_data` writes it."""
        seed = dict(self.fields)
        if self.client is not None:
            seed["client_id"] = self.client.row_id
        if self.opportunity is not None:
            seed["opportunity_id"] = self.opportunity.row_id
        if self.target is not None:
            seed["entity_type"] = self.target.entity
            seed["entity_id"] = self.target.row_id
        return seed

    def matches(self, criteria: Mapping[str, Any]) -> bool:
        """Whether a search finds it; a row as a criterion stands for its ID."""
        return all(self._field_matches(name, wanted) for name, wanted in criteria.items())

    def _field_matches(self, name: str, wanted: Any) -> bool:
        if isinstance(wanted, Row):
            return any(parent is wanted for parent in (self, self.client, self.opportunity))
        value = self.fields.get(name)
        if name in _TEXT_FIELDS:
            return value is not None and str(wanted).lower() in str(value).lower()
        return bool(value == wanted)
