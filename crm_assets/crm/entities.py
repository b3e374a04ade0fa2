"""The eight CRM entities: their tables, IDs and fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from crm_assets.crm.amounts import Amount, Probability
from crm_assets.crm.fields import Choice, Day, Identifier, Rule, Timestamp
from crm_assets.crm.texts import Email, FileName, Text, TextList

__all__ = [
    "CLIENT",
    "CLOSED_STAGES",
    "COMPANY",
    "CONTACT",
    "CONTRACT",
    "DOCUMENT",
    "ENTITIES",
    "NOTE",
    "OPPORTUNITY",
    "QUOTE",
    "SEED_ORDER",
    "Entity",
]

CLOSED_STAGES = ("Closed-Won", "Closed-Lost")


@dataclass(frozen=True, eq=False)  # compared by identity, so that it can be a cache key
class Entity:
    """One entity: its table, and its fields in the order of results."""

    name: str
    table: str
    fields: Mapping[str, Rule]
    required: tuple[str, ...]
    """Fields that are never null, the ID aside."""
    stamp: str | None = None
    """The field that the CRM fills with the time of creation."""

    @cached_property
    def id_field(self) -> str:
        """Return the name of the field that holds its own ID."""
        return next(
            name for name, rule in self.fields.items() if isinstance(rule, Identifier) and rule.generated
        )

    def choices(self, field: str) -> tuple[str, ...]:
        """Return the values that a field takes.

        Raises:
            TypeError: the field is not one of a few exact values.
        """
        rule = self.fields[field]
        if not isinstance(rule, Choice):
            raise TypeError(f"{self.name}.{field} takes any {type(rule).__name__}.")
        return rule.values

    @cached_property
    def columns(self) -> str:
        """Return its fields as an SQL list."""
        return ", ".join(self.fields)

    @cached_property
    def pointers(self) -> Mapping[str, str]:
        """Return {field: entity} for the fields that hold another entity's ID."""
        return {
            name: rule.entity
            for name, rule in self.fields.items()
            if isinstance(rule, Identifier) and not rule.generated and rule.entity
        }

    @cached_property
    def times(self) -> frozenset[str]:
        """Return the fields that hold a point in time, which no second run can repeat."""
        return frozenset(name for name, rule in self.fields.items() if isinstance(rule, Timestamp))


def _entity(
    name: str, table: str, required: tuple[str, ...], stamp: str | None, /, **fields: Rule
) -> Entity:
    return Entity(name, table, MappingProxyType(fields), required, stamp)


CLIENT = _entity(
    "Client",
    "clients",
    ("name", "status"),
    "created_date",
    client_id=Identifier("Client ID", "The client's ID.", "Client", generated=True),
    name=Text("Client name", "The client's name.", blank=False),
    industry=Text("Client industry", "Industry, such as Technology."),
    email=Email("Client email", "The client's email address."),
    phone=Text("Client phone", "Phone number."),
    address=Text("Client address", "Postal address."),
    status=Choice("Client status", "Where it stands.", ("Active", "Prospect", "Inactive")),
    created_date=Timestamp("Client created date", "When it was created."),
    owner=Text("Client owner", "Who looks after it."),
)

CONTACT = _entity(
    "Contact",
    "contacts",
    ("first_name", "last_name", "client_id"),
    None,
    contact_id=Identifier("Contact ID", "The contact's ID.", "Contact", generated=True),
    first_name=Text("Contact first name", "First name.", blank=False),
    last_name=Text("Contact last name", "Last name.", blank=False),
    title=Text("Contact title", "Job title."),
    email=Email("Contact email", "The contact's email address."),
    phone=Text("Contact phone", "Phone number."),
    client_id=Identifier("Contact client ID", "ID of the client it belongs to.", "Client"),
    notes=Text("Contact notes", "Free notes."),
)

OPPORTUNITY = _entity(
    "Opportunity",
    "opportunities",
    ("name", "client_id", "stage", "amount"),
    "created_at",
    opportunity_id=Identifier("Opportunity ID", "The opportunity's ID.", "Opportunity", generated=True),
    client_id=Identifier("Opportunity client ID", "ID of the client it is for.", "Client"),
    name=Text("Opportunity name", "The opportunity's name.", blank=False),
    stage=Choice(
        "Opportunity stage",
        "Where it stands in the pipeline.",
        ("Prospecting", "Qualification", "Proposal", "Negotiation", *CLOSED_STAGES),
    ),
    amount=Amount("Opportunity amount", "Its worth in dollars."),
    close_date=Day("Close date", "Expected close date, today or later (YYYY-MM-DD)."),
    owner=Text("Opportunity owner", "Who works on it."),
    probability=Probability("Probability", "Chance to win it, in per cent."),
    notes=Text("Opportunity notes", "Free notes."),
    created_at=Timestamp("Opportunity created at", "When it was created."),
)

QUOTE = _entity(
    "Quote",
    "quotes",
    ("opportunity_id", "amount", "status"),
    "created_date",
    quote_id=Identifier("Quote ID", "The quote's ID.", "Quote", generated=True),
    opportunity_id=Identifier("Quote opportunity ID", "ID of the opportunity it is for.", "Opportunity"),
    name=Text("Quote name", "The quote's name."),
    version=Text("Quote version", "Version, such as v2."),
    amount=Amount("Quote amount", "Its total in dollars."),
    status=Choice(
        "Quote status", "Where it stands.", ("Draft", "Sent", "Approved", "Rejected", "Canceled")
    ),
    valid_until=Day("Quote valid until", "Last day it holds (YYYY-MM-DD)."),
    created_date=Timestamp("Quote created date", "When it was created."),
    quote_prefix=Text("Quote prefix", "Prefix of its number, such as EU."),
)

CONTRACT = _entity(
    "Contract",
    "contracts",
    ("client_id", "status"),
    None,
    contract_id=Identifier("Contract ID", "The contract's ID.", "Contract", generated=True),
    client_id=Identifier("Contract client ID", "ID of the client it is with.", "Client"),
    opportunity_id=Identifier(
        "Contract opportunity ID", "ID of the opportunity it came from.", "Opportunity"
    ),
    start_date=Day("Contract start date", "First day (YYYY-MM-DD)."),
    end_date=Day("Contract end date", "Last day (YYYY-MM-DD)."),
    value=Amount("Contract value", "Its worth in dollars.", bounded=False),
    status=Choice("Contract status", "Where it stands.", ("Active", "Pending", "Expired")),
    document_url=Text("Contract document URL", "Where the signed document is."),
)

COMPANY = _entity(
    "Company",
    "companies",
    ("name", "type"),
    None,
    company_id=Identifier("Company ID", "The company's ID.", "Company", generated=True),
    name=Text("Company name", "The company's name.", blank=False),
    type=Choice("Company type", "What it is to us.", ("Partner", "Vendor", "Competitor")),
    industry=Text("Company industry", "Industry, such as Technology."),
    address=Text("Company address", "Postal address."),
    contacts=TextList("Company contacts", "Names of people there."),
)

DOCUMENT = _entity(
    "Document",
    "documents",
    ("entity_type", "entity_id", "file_name"),
    "uploaded_at",
    document_id=Identifier("Document ID", "The document's ID.", "Document", generated=True),
    entity_type=Choice(
        "Document entity type",
        "Kind of the entity it belongs to.",
        ("Opportunity", "Contract", "Quote", "Client"),
    ),
    entity_id=Identifier("Document entity ID", "ID of the entity it belongs to."),
    file_name=FileName("Document file name", "Name of the file, with its extension."),
    uploaded_by=Text("Document uploaded by", "Who uploaded it."),
    uploaded_at=Timestamp("Document uploaded at", "When it was uploaded."),
    file_url=Text("Document file URL", "Where the file is."),
)

NOTE = _entity(
    "Note",
    "notes",
    ("entity_type", "entity_id", "content"),
    "created_at",
    note_id=Identifier("Note ID", "The note's ID.", "Note", generated=True),
    entity_type=Choice(
        "Note entity type",
        "Kind of the entity it is about.",
        ("Opportunity", "Client", "Contact", "Quote", "Contract"),
    ),
    entity_id=Identifier("Note entity ID", "ID of the entity it is about."),
    content=Text("Note content", "What it says.", blank=False),
    created_by=Text("Note created by", "Who wrote it."),
    created_at=Timestamp("Note created at", "When it was written."),
)

SEED_ORDER = (CLIENT, CONTACT, OPPORTUNITY, QUOTE, CONTRACT, DOCUMENT, NOTE, COMPANY)
"""Entities in the order in which seeds are inserted."""

ENTITIES: Mapping[str, Entity] = MappingProxyType({entity.name: entity for entity in SEED_ORDER})
"""All entities by name."""
