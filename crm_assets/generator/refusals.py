"""Turns that ask for a value the CRM does not take."""

from __future__ import annotations

from crm_assets.generator import names
from crm_assets.generator.conversation_builder import Scene
from crm_assets.generator.crm_state import date_text, domain_of
from crm_assets.generator.deals import is_open
from crm_assets.generator.refusal import new_deal, new_deal_text, refuse
from crm_assets.generator.rows import CLIENT_STATUSES, ID_FIELDS, Row
from crm_assets.generator.searches import arguments

__all__ = [
    "amount_too_large",
    "amount_zero",
    "bad_email",
    "bad_enum",
    "blank_name",
    "impossible_date",
    "past_close_date",
    "probability_out_of_range",
]

_IMPOSSIBLE_DATES = ("02-30", "04-31", "06-31", "09-31", "11-31", "13-05")


def blank_name(scene: Scene) -> None:
    """A client without a name."""
    blank = scene.rng.choice(("", " ", "   "))
    email = f"info@{domain_of(scene.world.client_name())}"
    status = scene.rng.choice(CLIENT_STATUSES)
    utterance = scene.phrase(
        (
            "Create a client with email {email} and status {status}, and leave its name blank.",
            "Add a client whose name is blank; email {email}, status {status}.",
            "Register a client without any name: blank name, email {email}, status {status}.",
        ),
        email=email,
        status=status,
    )
    args = {"name": blank, "email": email, "status": status}
    refuse(
        scene, "create_new_client", args, utterance, category="blank_name", error="name must not be blank"
    )


def bad_email(scene: Scene) -> None:
    """An email that is none."""
    name, status = scene.world.client_name(), scene.rng.choice(CLIENT_STATUSES)
    email = scene.rng.choice(names.BAD_EMAILS)
    utterance = scene.phrase(
        (
            'Add {name} as a {status} client and enter "{email}" as the email, exactly like that.',
            'Create the client {name}, status {status}. Their email field should read "{email}".',
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
        category="bad_email",
        error="must be a valid email address",
    )


def amount_zero(scene: Scene) -> None:
    """A quote over nothing, or less."""
    deal = _deal(scene)
    label, pointer = scene.label(deal)
    amount = scene.rng.choice((0, 0, -500, -12000))
    utterance = scene.phrase(
        (
            "Create a Draft quote for {label} with the amount {amount}.",
            "I want a quote on {label} over exactly {amount}, status Draft.",
            "Quote {label} at {amount} and keep the quote in Draft.",
        ),
        label=label,
        amount=amount,
    )
    args = {"opportunity_id": pointer, "amount": amount, "status": "Draft"}
    refuse(
        scene,
        "create_quote",
        args,
        utterance,
        category="amount_not_positive",
        error="must be greater than zero",
    )


def amount_too_large(scene: Scene) -> None:
    """A deal above what the CRM takes."""
    amount = scene.rng.randrange(11, 900) * 1_000_000
    args = new_deal(scene, amount=amount)
    utterance = new_deal_text(scene, args)
    refuse(
        scene,
        "create_new_opportunity",
        args,
        utterance,
        category="amount_too_large",
        error="must not exceed 10,000,000",
    )


def past_close_date(scene: Scene) -> None:
    """A deal that should have closed long ago."""
    args = new_deal(scene, close_date=date_text(scene.rng, scene.rng.randrange(2001, 2021)))
    utterance = new_deal_text(scene, args)
    refuse(
        scene,
        "create_new_opportunity",
        args,
        utterance,
        category="past_close_date",
        error="must be today or later",
    )


def impossible_date(scene: Scene) -> None:
    """A deal that closes on a day no calendar has."""
    day = f"{scene.rng.randrange(2035, 2040)}-{scene.rng.choice(_IMPOSSIBLE_DATES)}"
    args = new_deal(scene, close_date=day)
    utterance = new_deal_text(scene, args)
    refuse(
        scene,
        "create_new_opportunity",
        args,
        utterance,
        category="invalid_date",
        error="valid ISO-8601 date",
    )


def probability_out_of_range(scene: Scene) -> None:
    """A probability below 1 or above 99."""
    deal = _deal(scene)
    label, pointer = scene.label(deal)
    value = scene.rng.choice((0, 100, 101, 120, 150, 250))
    utterance = scene.phrase(
        (
            "Set the probability of {label} to {value}.",
            "Put {label} at a probability of {value} percent.",
            "Update {label}: probability {value}%.",
        ),
        label=label,
        value=value,
    )
    args = {"opportunity_id": pointer, **arguments(scene, {"probability": value}, "updates")}
    refuse(
        scene,
        "modify_opportunity",
        args,
        utterance,
        category="probability_out_of_range",
        error="must be a whole number from 1 to 99",
    )


def bad_enum(scene: Scene) -> None:
    """A stage or status that does not exist."""
    entity, field, value = scene.rng.choice(
        (
            ("Opportunity", "stage", "On Hold"),
            ("Opportunity", "stage", "Verbal Yes"),
            ("Client", "status", "Archived"),
            ("Client", "status", "VIP"),
            ("Quote", "status", "Paid"),
            ("Quote", "status", "Under Review"),
        )
    )
    rows = [row for row in scene.world.rows[entity] if is_open(row)]
    if not rows:
        entity, field, value = "Client", "status", "Archived"
        rows = scene.world.rows[entity]
    label, pointer = scene.label(scene.rng.choice(rows))
    utterance = scene.phrase(
        (
            'Set the {field} of {label} to "{value}".',
            'Change {label} to the {field} "{value}", worded exactly like that.',
            'Please give {label} the {field} "{value}".',
        ),
        field=field,
        label=label,
        value=value,
    )
    args = {ID_FIELDS[entity]: pointer, **arguments(scene, {field: value}, "updates")}
    tool = f"modify_{entity.lower()}"
    refuse(scene, tool, args, utterance, category="invalid_enum", error=f"{field} must be one of")


def _deal(scene: Scene) -> Row:
    """An open deal; one is opened where there is none left."""
    deal = scene.pick("Opportunity", is_open)
    if deal is not None:
        return deal
    client = scene.rng.choice(scene.world.rows["Client"])
    args = {**new_deal(scene), "client_id": scene.point(client)}
    own = {key: args[key] for key in ("name", "amount", "stage")}
    row = scene.world.add("Opportunity", own, None, client=client)
    scene.play("create_new_opportunity", args, new_deal_text(scene, args), gives=row)
    return row
