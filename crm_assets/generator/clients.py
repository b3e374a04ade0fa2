"""Turns about clients and the people who work there."""

from __future__ import annotations

from typing import Any

from crm_assets.generator import names
from crm_assets.generator.conversation_builder import Scene, join_words
from crm_assets.generator.crm_state import domain_of, new_uuid
from crm_assets.generator.rows import CLIENT_STATUSES, Row
from crm_assets.generator.updates import play_update

__all__ = ["create_new_client", "create_new_contact", "details", "modify_client", "modify_contact"]

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


def details(values: dict[str, Any], lead: str = ", ") -> str:
    """Further fields the way people tack them on: `, industry Retail and owner Dana Cole`."""
    told = [f"{name.replace('_', ' ')} {value}" for name, value in values.items()]
    return f"{lead}{join_words(told)}" if told else ""


def optional(scene: Scene, fields: dict[str, Any], share: float = 0.4) -> dict[str, Any]:
    """Some of `fields`."""
    return {name: value for name, value in fields.items() if scene.chance(share)}


def kept_id(scene: Scene) -> str | None:
    """Now and then a record comes with an ID from another system, to be kept."""
    return new_uuid(scene.rng) if scene.chance(0.12) else None


def create_new_client(scene: Scene) -> None:
    """A new client, with a new name and email."""
    fields = scene.world.client_fields(scene.world.client_name())
    extra = optional(scene, {key: fields[key] for key in ("industry", "phone", "address", "owner")})
    args = {key: fields[key] for key in ("name", "email", "status")} | extra
    row_id = kept_id(scene)
    if row_id:
        args["client_id"] = extra["client_id"] = row_id
    utterance = scene.phrase(
        _NEW_CLIENT,
        name=args["name"],
        email=args["email"],
        status=args["status"],
        details=details(extra),
    )
    own = {key: value for key, value in args.items() if key != "client_id"}
    row = scene.world.add("Client", own, row_id)
    reply = f"Created client {row.name} ({args['status']}), email {args['email']}."
    scene.play("create_new_client", args, utterance, reply=reply, gives=row)


def create_new_contact(scene: Scene) -> None:
    """A new contact at a client that is there."""
    client = scene.pick("Client")
    if client is None:
        return create_new_client(scene)
    fields = scene.world.contact_fields(client)
    extra = optional(scene, {key: fields[key] for key in ("title", "email", "phone")}, 0.6)
    label, pointer = scene.label(client)
    own = {"first_name": fields["first_name"], "last_name": fields["last_name"], **extra}
    args = {**own, "client_id": pointer}
    row_id = kept_id(scene)
    if row_id:
        args["contact_id"] = extra["contact_id"] = row_id
    utterance = scene.phrase(
        _NEW_CONTACT,
        first=fields["first_name"],
        last=fields["last_name"],
        client=label,
        details=details(extra, lead=", with "),
    )
    row = scene.world.add("Contact", own, row_id, client=client)
    reply = f"Added {row.name} as a contact of {client.name}."
    return scene.play("create_new_contact", args, utterance, reply=reply, gives=row)


def modify_client(scene: Scene) -> None:
    """One or two fields of a client."""
    client = scene.pick("Client")
    if client is None:
        return create_new_client(scene)
    return play_update(scene, client, _client_changes(scene, client))


def modify_contact(scene: Scene) -> None:
    """One or two fields of a contact."""
    contact = scene.pick("Contact")
    if contact is None:
        return create_new_contact(scene)
    rng = scene.rng
    number = rng.randrange(10, 100)
    host = domain_of(contact.client.name) if contact.client else "mail.example"
    choices: dict[str, Any] = {
        "title": rng.choice([title for title in names.TITLES if title != contact.fields.get("title")]),
        "phone": scene.world.phone(),
        "email": f"{contact.fields['last_name']}{number}@{host}".lower(),
        "notes": rng.choice(names.REMARKS),
    }
    return play_update(scene, contact, _some(scene, choices))


def _client_changes(scene: Scene, client: Row) -> dict[str, Any]:
    rng = scene.rng
    statuses = [status for status in CLIENT_STATUSES if status != client.fields["status"]]
    choices: dict[str, Any] = {
        "status": rng.choice(statuses),
        "owner": rng.choice([owner for owner in names.OWNERS if owner != client.fields.get("owner")]),
        "phone": scene.world.phone(),
        "address": scene.world.address(),
        "industry": rng.choice(
            [industry for industry in names.INDUSTRIES if industry != client.fields.get("industry")]
        ),
    }
    return _some(scene, choices)


def _some(scene: Scene, choices: dict[str, Any]) -> dict[str, Any]:
    chosen = scene.rng.sample(sorted(choices), 2 if scene.chance(0.3) else 1)
    return {name: choices[name] for name in chosen}
