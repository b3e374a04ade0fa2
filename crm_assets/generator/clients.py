"""Turns about clients and their contacts."""

from __future__ import annotations

from crm_assets.crm.entities import CLIENT, CONTACT
from crm_assets.generator import names
from crm_assets.generator.conversation_builder import ConversationBuilder, details
from crm_assets.generator.crm_state import domain_of
from crm_assets.generator.rows import CLIENT_STATUSES, Fields, Row
from crm_assets.generator.updates import play_update

__all__ = ["create_new_client", "create_new_contact", "modify_client", "modify_contact"]

_NEW_CLIENT = (
    "Add {name} as a new client with email {email} and status {status}{details}.",
    "Create a client record for {name}: email {email}, status {status}{details}.",
    "Please set up {name} in the CRM as a client. Email: {email}; status: {status}{details}.",
    "We have a new account, {name}. Register it with the email {email} and the status {status}{details}.",
    "Can you onboard {name}? Their email is {email} and they should be {status}{details}.",
    "New client: {name}, {email}, {status}{details}.",
)
_NEW_CONTACT = (
    "Add {first} {last} as a contact at {client}{details}.",
    "Create a contact for {first} {last} under {client}{details}.",
    "{first} {last} is our new counterpart at {client}; please add the contact{details}.",
    "Register a new contact, {first} {last}, for {client}{details}.",
    "Please put {first} {last} on file as a contact of {client}{details}.",
)


def create_new_client(builder: ConversationBuilder) -> None:
    """Create a client with a new name and email."""
    fields = builder.state.client_fields(builder.state.client_name())
    extra = builder.some({key: fields[key] for key in ("industry", "phone", "address", "owner")})
    own = {key: fields[key] for key in ("name", "email", "status")} | extra
    args = dict(own)
    row_id = builder.keep_id(CLIENT, args, extra)
    utterance = builder.phrase(_NEW_CLIENT, **own, details=details(extra, lead=", "))
    row = builder.state.add("Client", own, row_id)
    reply = f"Created client {row.name} ({own['status']}), email {own['email']}."
    builder.play("create_new_client", args, utterance, reply=reply, gives=row)


def create_new_contact(builder: ConversationBuilder) -> None:
    """Create a contact of an existing client."""
    client = builder.pick_client()
    fields = builder.state.contact_fields(client)
    extra = builder.some({key: fields[key] for key in ("title", "email", "phone")}, 0.6)
    label, pointer = builder.label(client)
    own = {"first_name": fields["first_name"], "last_name": fields["last_name"], **extra}
    args = {**own, "client_id": pointer}
    row_id = builder.keep_id(CONTACT, args, extra)
    utterance = builder.phrase(
        _NEW_CONTACT,
        first=fields["first_name"],
        last=fields["last_name"],
        client=label,
        details=details(extra),
    )
    row = builder.state.add("Contact", own, row_id, client=client)
    reply = f"Added {row.name} as a contact of {client.name}."
    builder.play("create_new_contact", args, utterance, reply=reply, gives=row)


def modify_client(builder: ConversationBuilder) -> None:
    """Change one or two fields of a client."""
    client = builder.pick_client()
    rng, state = builder.rng, builder.state
    choices: Fields = {
        "status": rng.choice(_others(CLIENT_STATUSES, client, "status")),
        "owner": rng.choice(_others(names.OWNERS, client, "owner")),
        "phone": state.phone(),
        "address": state.address(),
        "industry": rng.choice(_others(names.INDUSTRIES, client, "industry")),
    }
    play_update(builder, client, choices, 2 if builder.chance(0.3) else 1)


def modify_contact(builder: ConversationBuilder) -> None:
    """Change one or two fields of a contact."""
    contact = builder.pick("Contact")
    assert contact is not None  # contacts are seeded, and no turn deletes one
    rng = builder.rng
    number = rng.randrange(10, 100)
    host = domain_of(contact.client.name) if contact.client else "mail.example"
    choices: Fields = {
        "title": rng.choice(_others(names.TITLES, contact, "title")),
        "phone": builder.state.phone(),
        "email": f"{contact.fields['last_name']}{number}@{host}".lower(),
        "notes": rng.choice(names.REMARKS),
    }
    play_update(builder, contact, choices, 2 if builder.chance(0.3) else 1)


def _others(values: tuple[str, ...], row: Row, field: str) -> list[str]:
    return [value for value in values if value != row.fields.get(field)]
