"""Turns that ask for something the CRM cannot do, or about something that is not there."""

from __future__ import annotations

from crm_assets.generator import names
from crm_assets.generator.conversation_builder import Scene
from crm_assets.generator.crm_state import date_text, new_uuid
from crm_assets.generator.deals import close_opportunity, is_open
from crm_assets.generator.refusal import refuse
from crm_assets.generator.rows import CLIENT_STATUSES, ID_FIELDS, OPEN_STAGES
from crm_assets.generator.searches import arguments

__all__ = [
    "bad_file_name",
    "closed_opportunity",
    "duplicate_email",
    "unknown_argument",
    "unknown_field",
    "unknown_id",
    "unknown_parent",
    "unsupported_file",
]

_UNSUPPORTED = ("installer.exe", "macro_setup.exe", "update.exe", "viewer.exe")
_UNSPEAKABLE = ("final offer.pdf", "terms (signed).pdf", "q3 numbers.xlsx", "plan & budget.docx")


def duplicate_email(scene: Scene) -> None:
    """A second client with a client's email."""
    existing = scene.rng.choice(scene.world.rows["Client"])
    email = existing.fields["email"]
    email = email.upper() if scene.chance(0.3) else email
    name, status = scene.world.client_name(), scene.rng.choice(CLIENT_STATUSES)
    utterance = scene.phrase(
        (
            "Create a client called {name} with the email {email} and status {status}.",
            "Add {name} as a new client. Email {email}, status {status}.",
            "Set up {name} as a client too; they share the email {email}, and their status is {status}.",
        ),
        name=name,
        email=email,
        status=status,
    )
    args = {"name": name, "email": email, "status": status}
    refuse(
        scene,
        "create_new_client",
        args,
        utterance,
        category="duplicate_email",
        error="already exists with email",
    )


def unknown_field(scene: Scene) -> None:
    """A field that the record does not have."""
    entity = scene.rng.choice(("Opportunity", "Client", "Contact"))
    rows = [row for row in scene.world.rows[entity] if is_open(row)] or scene.world.rows["Client"]
    row = scene.rng.choice(rows)
    label, pointer = scene.label(row)
    field, value = scene.rng.choice(names.UNKNOWN_FIELDS).split("=")
    utterance = scene.phrase(
        (
            "Update {label} and set the field '{field}' to \"{value}\".",
            "On {label}, fill in the field '{field}' with \"{value}\".",
            "Please write \"{value}\" into the '{field}' field of {label}.",
        ),
        label=label,
        field=field,
        value=value,
    )
    args = {ID_FIELDS[row.entity]: pointer, "updates": {field: value}}
    tool = f"modify_{row.entity.lower()}"
    refuse(scene, tool, args, utterance, category="unknown_field", error="has no field named")


def unknown_argument(scene: Scene) -> None:
    """An argument that the tool does not have."""
    row = scene.pick("Opportunity") or scene.rng.choice(scene.world.rows["Client"])
    label, pointer = scene.label(row)
    name, value = scene.rng.choice(names.UNKNOWN_ARGUMENTS).split("=")
    content = scene.rng.choice(names.REMARKS)
    utterance = scene.phrase(
        (
            'Add a note to {label}: "{content}" and pass {name}="{value}" along with it.',
            'Note on {label}: "{content}" The note also needs the argument {name} with "{value}".',
        ),
        label=label,
        content=content,
        name=name,
        value=value,
    )
    args = {"entity_type": row.entity, "entity_id": pointer, "content": content, name: value}
    refuse(scene, "add_note", args, utterance, category="unknown_argument", error="has no argument named")


def unsupported_file(scene: Scene) -> None:
    """A kind of file that may not be stored."""
    file = scene.rng.choice(_UNSUPPORTED)
    _upload(scene, file, "unsupported_file_type", "extension '.exe' is not supported")


def bad_file_name(scene: Scene) -> None:
    """A file name with characters that are not allowed."""
    _upload(scene, scene.rng.choice(_UNSPEAKABLE), "invalid_file_name", "file name may only hold")


def closed_opportunity(scene: Scene) -> None:
    """What may no longer change once a deal is closed (which is done first)."""
    closed = [row for row in scene.world.rows["Opportunity"] if row.is_closed]
    if not closed:
        close_opportunity(scene)
        closed = [row for row in scene.world.rows["Opportunity"] if row.is_closed]
    if not closed:  # there was no deal to close, so one was opened instead
        return unknown_id(scene)
    deal = scene.rng.choice(closed)
    label, pointer = scene.label(deal)
    rng = scene.rng
    field, value = rng.choice(
        (
            ("stage", rng.choice(OPEN_STAGES)),
            ("amount", scene.world.amount()),
            ("probability", rng.randrange(1, 20) * 5),
            ("close_date", date_text(rng)),
        )
    )
    told = scene.money(float(value)) if field == "amount" else value
    utterance = scene.phrase(
        (
            "Set the {field} of {label} to {value} after all.",
            "Change {label}: {field} {value}, even though it is closed.",
            "I know it is closed, but give {label} the {field} {value}.",
        ),
        field=field.replace("_", " "),
        label=label,
        value=told,
    )
    args = {"opportunity_id": pointer, **arguments(scene, {field: value}, "updates")}
    return refuse(
        scene,
        "modify_opportunity",
        args,
        utterance,
        category="closed_opportunity",
        error="closed opportunity",
    )


def unknown_id(scene: Scene) -> None:
    """A record that is not there."""
    nobody = new_uuid(scene.rng)
    tool, field, text = scene.rng.choice(
        (
            ("view_opportunity_details", "opportunity_id", "Show me opportunity {id}."),
            ("opportunity_details", "opportunity_id", "Pull up the details of deal {id}."),
            ("clone_opportunity", "opportunity_id", "Clone opportunity {id}."),
            ("delete_opportunity", "opportunity_id", "Delete opportunity {id}."),
            ("quote_details", "quote_id", "Show me quote {id}."),
            ("cancel_quote", "quote_id", "Cancel quote {id}."),
            ("delete_quote", "quote_id", "Delete quote {id}."),
        )
    )
    refuse(
        scene,
        tool,
        {field: nobody},
        text.format(id=nobody),
        category="unknown_id",
        error="not found with ID",
    )


def unknown_parent(scene: Scene) -> None:
    """Something new for a client that is not there."""
    nobody = new_uuid(scene.rng)
    first, last = scene.world.person()
    utterance = scene.phrase(
        (
            "Add {first} {last} as a contact of the client {id}.",
            "Create a contact named {first} {last} for client {id}.",
        ),
        first=first,
        last=last,
        id=nobody,
    )
    args = {"first_name": first, "last_name": last, "client_id": nobody}
    refuse(scene, "create_new_contact", args, utterance, category="unknown_id", error="not found with ID")


def _upload(scene: Scene, file: str, category: str, error: str) -> None:
    row = scene.pick("Opportunity") or scene.world.rows["Client"][0]
    label, pointer = scene.label(row)
    utterance = scene.phrase(
        (
            'Upload the file "{file}" to {label}.',
            'Attach "{file}" to {label}, under exactly that name.',
            'Please store "{file}" with {label}.',
        ),
        file=file,
        label=label,
    )
    args = {"entity_type": row.entity, "entity_id": pointer, "file_name": file}
    refuse(scene, "upload_document", args, utterance, category=category, error=error)
