"""Calls that the CRM must refuse, each drawn for the state that a conversation has reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crm_assets.crm.entities import ENTITIES
from crm_assets.crm.tools import TOOLS
from crm_assets.generator import names
from crm_assets.generator.conversation_builder import ConversationBuilder
from crm_assets.generator.crm_state import date_text, domain_of, new_uuid
from crm_assets.generator.deals import close_opportunity
from crm_assets.generator.rows import CLIENT_STATUSES, OPEN_STAGES, Fields, Row

_IMPOSSIBLE_DATES = ("02-30", "04-31", "06-31", "09-31", "11-31", "13-05")
UNSUPPORTED_FILES = ("installer.exe", "macro_setup.exe", "update.exe", "viewer.exe")
BAD_FILE_NAMES = ("final offer.pdf", "terms (signed).pdf", "q3 numbers.xlsx", "plan & budget.docx")
_UNKNOWN_CHOICES = (
    ("Opportunity", "stage", "On Hold"),
    ("Opportunity", "stage", "Verbal Yes"),
    ("Client", "status", "Archived"),
    ("Client", "status", "VIP"),
    ("Quote", "status", "Paid"),
    ("Quote", "status", "Under Review"),
)
_BY_ID = (
    ("view_opportunity_details", "Show me opportunity {id}."),
    ("opportunity_details", "Pull up the details of deal {id}."),
    ("clone_opportunity", "Clone opportunity {id}."),
    ("delete_opportunity", "Delete opportunity {id}."),
    ("quote_details", "Show me quote {id}."),
    ("cancel_quote", "Cancel quote {id}."),
    ("delete_quote", "Delete quote {id}."),
)
NEW_DEAL = (
    'Create the opportunity "{name}" for client {client_id}: {price}, stage {stage}{closing}.',
    'Open a deal named "{name}" with client {client_id} over {price} in stage {stage}{closing}.',
    'Log "{name}" for client {client_id} as an opportunity in {stage} worth {price}{closing}.',
)


@dataclass(frozen=True)
class BadCall:
    """A call that the CRM must refuse."""

    tool: str
    args: Fields
    words: Fields = field(default_factory=dict)
    """Values for the phrase, besides the arguments."""
    changes: Fields = field(default_factory=dict)
    """Further arguments, which may be wrapped in one."""


def _new_client(*, name: str, email: str, status: str) -> BadCall:
    return BadCall("create_new_client", {"name": name, "email": email, "status": status})


def duplicate_client(builder: ConversationBuilder) -> BadCall:
    """Ask for a second client with the email of an existing one."""
    email = builder.rng.choice(builder.state.rows["Client"]).fields["email"]
    email = email.upper() if builder.chance(0.3) else email
    return _new_client(
        name=builder.state.client_name(), email=email, status=builder.rng.choice(CLIENT_STATUSES)
    )


def nameless_client(builder: ConversationBuilder) -> BadCall:
    """Ask for a client with a blank name."""
    return _new_client(
        name=builder.rng.choice(("", " ", "   ")),
        email=f"info@{domain_of(builder.state.client_name())}",
        status=builder.rng.choice(CLIENT_STATUSES),
    )


def unreachable_client(builder: ConversationBuilder) -> BadCall:
    """Ask for a client with a malformed email."""
    return _new_client(
        name=builder.state.client_name(),
        status=builder.rng.choice(CLIENT_STATUSES),
        email=builder.rng.choice(names.BAD_EMAILS),
    )


def unknown_client(builder: ConversationBuilder) -> BadCall:
    """Ask for a contact of a client that does not exist."""
    unknown = new_uuid(builder.rng)
    first, last = builder.state.person()
    args = {"first_name": first, "last_name": last, "client_id": unknown}
    return BadCall("create_new_contact", args)


def _deal_args(builder: ConversationBuilder) -> Fields:
    client = builder.pick_client()
    return {
        "name": builder.state.deal_name(),
        "client_id": builder.point(client),
        "amount": builder.state.amount(),
        "stage": builder.rng.choice(OPEN_STAGES),
    }


def _deal_words(builder: ConversationBuilder, args: Fields) -> Fields:
    closing = f", closing on {args['close_date']}" if "close_date" in args else ""
    return {"price": builder.money(args["amount"]), "closing": closing}


def _new_deal(builder: ConversationBuilder, **bad: Any) -> BadCall:
    """Return a call for a new deal with an existing client that has the arguments `bad`."""
    args = {**_deal_args(builder), **bad}
    return BadCall("create_new_opportunity", args, _deal_words(builder, args))


def oversized_deal(builder: ConversationBuilder) -> BadCall:
    """Ask for a deal above the CRM's largest amount."""
    return _new_deal(builder, amount=builder.rng.randrange(11, 900) * 1_000_000)


def past_deal(builder: ConversationBuilder) -> BadCall:
    """Ask for a deal that closes in the past."""
    return _new_deal(builder, close_date=date_text(builder.rng, builder.rng.randrange(2001, 2021)))


def impossible_deal(builder: ConversationBuilder) -> BadCall:
    """Ask for a deal that closes on a day that no calendar has."""
    year = builder.rng.randrange(2035, 2040)
    return _new_deal(builder, close_date=f"{year}-{builder.rng.choice(_IMPOSSIBLE_DATES)}")


def _open_deal(builder: ConversationBuilder) -> Row:
    """Return an open deal; one is created where none is left."""
    deal = builder.pick("Opportunity", lambda row: row.is_open)
    if deal is not None:
        return deal
    client = builder.rng.choice(builder.state.rows["Client"])
    args = {**_deal_args(builder), "client_id": builder.point(client)}
    own = {key: args[key] for key in ("name", "amount", "stage")}
    row = builder.state.add("Opportunity", own, None, client=client)
    utterance = builder.phrase(NEW_DEAL, **args, **_deal_words(builder, args))
    builder.play("create_new_opportunity", args, utterance, gives=row)
    return row


def worthless_quote(builder: ConversationBuilder) -> BadCall:
    """Ask for a quote over zero or less."""
    label, pointer = builder.label(_open_deal(builder))
    amount = builder.rng.choice((0, 0, -500, -12000))
    args = {"opportunity_id": pointer, "amount": amount, "status": "Draft"}
    return BadCall("create_quote", args, {"label": label})


def _change(row: Row, labeled: tuple[str, str], name: str, value: Any, shown: Any = None) -> BadCall:
    """Return a call that sets the field `name` of `row`.

    Args:
        row: the record.
        labeled: text and ID that name it.
        name: the field.
        value: its new value.
        shown: the value as the user writes it, where that differs.
    """
    label, pointer = labeled
    words = {"field": name.replace("_", " "), "label": label, "value": value if shown is None else shown}
    id_field = ENTITIES[row.entity].id_field
    return BadCall(f"modify_{row.entity.lower()}", {id_field: pointer}, words, {name: value})


def improbable_deal(builder: ConversationBuilder) -> BadCall:
    """Ask for a probability below 1 or above 99."""
    deal = _open_deal(builder)
    label = builder.label(deal)
    return _change(deal, label, "probability", builder.rng.choice((0, 100, 101, 120, 150, 250)))


def unknown_choice(builder: ConversationBuilder) -> BadCall:
    """Ask for a stage or status that does not exist."""
    entity, name, value = builder.rng.choice(_UNKNOWN_CHOICES)
    rows = [row for row in builder.state.rows[entity] if row.is_open]
    if not rows:
        name, value = "status", "Archived"
        rows = builder.state.rows["Client"]
    row = builder.rng.choice(rows)
    return _change(row, builder.label(row), name, value)


def closed_deal(builder: ConversationBuilder) -> BadCall | None:
    """Ask for a change of a deal that is closed; None if none can be closed."""
    closed = [row for row in builder.state.rows["Opportunity"] if not row.is_open]
    if not closed:
        close_opportunity(builder)
        closed = [row for row in builder.state.rows["Opportunity"] if not row.is_open]
    if not closed:  # there was no deal to close, so one was opened instead
        return None
    rng = builder.rng
    deal = rng.choice(closed)
    label = builder.label(deal)
    name, value = rng.choice(
        (
            ("stage", rng.choice(OPEN_STAGES)),
            ("amount", builder.state.amount()),
            ("probability", rng.randrange(1, 20) * 5),
            ("close_date", date_text(rng)),
        )
    )
    shown = builder.money(float(value)) if name == "amount" else value
    return _change(deal, label, name, value, shown)


def unknown_field(builder: ConversationBuilder) -> BadCall:
    """Ask for a change of a field that the record does not have."""
    entity = builder.rng.choice(("Opportunity", "Client", "Contact"))
    rows = [row for row in builder.state.rows[entity] if row.is_open] or builder.state.rows["Client"]
    row = builder.rng.choice(rows)
    label, pointer = builder.label(row)
    name, value = builder.rng.choice(names.UNKNOWN_FIELDS).split("=")
    args = {ENTITIES[row.entity].id_field: pointer, "updates": {name: value}}
    words = {"label": label, "field": name, "value": value}
    return BadCall(f"modify_{row.entity.lower()}", args, words)


def unknown_argument(builder: ConversationBuilder) -> BadCall:
    """Ask for a note with an argument that the tool does not have."""
    row = builder.pick("Opportunity") or builder.rng.choice(builder.state.rows["Client"])
    label, pointer = builder.label(row)
    name, value = builder.rng.choice(names.UNKNOWN_ARGUMENTS).split("=")
    content = builder.rng.choice(names.REMARKS)
    args = {"entity_type": row.entity, "entity_id": pointer, "content": content, name: value}
    return BadCall("add_note", args, {"label": label, "name": name, "value": value})


def upload(file_names: tuple[str, ...]) -> Callable[[ConversationBuilder], BadCall]:
    """Return a draw that asks for one of `file_names` to be attached."""

    def draw(builder: ConversationBuilder) -> BadCall:
        file = builder.rng.choice(file_names)
        row = builder.pick("Opportunity") or builder.state.rows["Client"][0]
        label, pointer = builder.label(row)
        args = {"entity_type": row.entity, "entity_id": pointer, "file_name": file}
        return BadCall("upload_document", args, {"label": label})

    return draw


def unknown_id(builder: ConversationBuilder) -> BadCall:
    """Ask for a record that does not exist."""
    unknown = new_uuid(builder.rng)
    tool, request = builder.rng.choice(_BY_ID)
    words = {"request": request.format(id=unknown)}
    return BadCall(tool, {TOOLS[tool].entity.id_field: unknown}, words)
