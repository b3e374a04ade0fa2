"""Turns about quotes, contracts, documents and notes."""

from __future__ import annotations

from typing import Any

from crm_assets.generator import names
from crm_assets.generator.clients import details, kept_id, optional
from crm_assets.generator.conversation_builder import Scene, join_words, money
from crm_assets.generator.crm_state import date_text
from crm_assets.generator.deals import create_new_opportunity
from crm_assets.generator.rows import QUOTE_STATUSES, Row
from crm_assets.generator.updates import play_update

__all__ = [
    "add_note",
    "cancel_quote",
    "compare_quote_details",
    "compare_quotes",
    "create_contract",
    "create_quote",
    "delete_quote",
    "modify_quote",
    "quote_details",
    "quote_prefixes",
    "upload_document",
]

_NEW_QUOTE = (
    "Create a quote for {deal} over {amount}, status {status}{details}.",
    "Prepare a {status} quote of {amount} for {deal}{details}.",
    "We need a quote on {deal}: {amount}, status {status}{details}.",
    "Please write up a quote for {deal}. Amount {amount}, status {status}{details}.",
    "Quote {deal} at {amount} and mark it {status}{details}.",
)
_VIEW_QUOTE = (
    "Show me {label}.",
    "What does {label} say?",
    "Open {label} for me.",
    "Give me the details of {label}.",
    "Which amount and status does {label} have?",
)
_CANCEL = (
    "Cancel {label}.",
    "The customer stepped back, so please cancel {label}.",
    "Withdraw {label}: set it to canceled.",
    "{label} is off. Cancel it.",
)
_DELETE = (
    "Delete {label}.",
    "Please remove {label} altogether.",
    "{label} was a mistake; delete it.",
    "Take {label} out of the CRM for good.",
)
_COMPARE = (
    "Compare the quotes {ids}.",
    "How do the quotes {ids} compare?",
    "Put the quotes {ids} side by side.",
    "Show me {ids} next to each other; they are quotes.",
)
_COMPARE_DETAILS = (
    "Compare the quotes {ids} in detail, with amounts, statuses and the total.",
    "I need the amounts and statuses of the quotes {ids}, and what they add up to.",
    "Break down the quotes {ids}: amount and status of each, and the sum.",
    "What do the quotes {ids} come to in total? List their amounts and statuses too.",
)
_PREFIXES = (
    "Which quote prefixes are in use?",
    "List the quote prefixes.",
    "What prefixes do our quotes have?",
    "Show me all quote prefixes we work with.",
    "Before I name the next quote: which quote prefixes exist?",
)
_CONTRACT = (
    "Create a contract for {client}{details}.",
    "Draw up a contract with {client}{details}.",
    "Please set up the contract for {client}{details}.",
    "{client} is ready to sign, so create their contract{details}.",
)
_UPLOAD = (
    "Attach {file} to {label}{details}.",
    "Upload {file} to {label}{details}.",
    "Please file the document {file} under {label}{details}.",
    "Add the document {file} to {label}{details}.",
    "Store {file} with {label}{details}.",
)
_NOTE = (
    'Add a note to {label}: "{content}"{details}',
    'Please note on {label}: "{content}"{details}',
    'Leave a note for {label} that reads "{content}"{details}',
    'Write this down on {label}: "{content}"{details}',
    'Log the following note with {label}: "{content}"{details}',
)


def create_quote(scene: Scene) -> None:
    """A new quote on a deal."""
    deal = scene.pick("Opportunity")
    if deal is None:
        return create_new_opportunity(scene)
    rng = scene.rng
    told_amount, amount = scene.amount_of(deal)
    value = deal.fields["amount"]
    if scene.chance(0.5):
        amount = value = scene.world.amount()
        told_amount = scene.money(value)
    label, pointer = scene.label(deal)
    choices = {
        "name": f"{deal.name} {rng.choice(('Final', 'Revised', 'Starter', 'Premium'))} Quote",
        "valid_until": date_text(rng),
        "quote_prefix": rng.choice(names.PREFIXES),
        "version": f"{rng.randrange(1, 4)}.{rng.randrange(1, 6)}",
    }
    extra = optional(scene, choices, 0.3)
    status = rng.choice(("Draft", "Draft", "Sent", "Approved"))
    args = {"opportunity_id": pointer, "amount": amount, "status": status, **extra}
    row_id = kept_id(scene)
    told = dict(extra)
    if row_id:
        args["quote_id"] = told["quote_id"] = row_id
    utterance = scene.phrase(
        _NEW_QUOTE,
        deal=label,
        amount=told_amount,
        status=status,
        details=details(told, lead=", with "),
    )
    fields = {"name": f"{deal.name} Quote", "amount": value, "status": status, **extra}
    quote = scene.world.add("Quote", fields, row_id, opportunity=deal)
    reply = f"Created quote {quote.name}: {_state(quote)}."
    return scene.play("create_quote", args, utterance, reply=reply, gives=quote)


def modify_quote(scene: Scene) -> None:
    """One or two fields of a quote."""
    quote = scene.pick("Quote", _is_live)
    if quote is None:
        return create_quote(scene)
    rng = scene.rng
    choices: dict[str, Any] = {
        "amount": scene.world.amount(),
        "status": rng.choice([status for status in QUOTE_STATUSES if status != quote.fields["status"]]),
        "valid_until": date_text(rng),
        "version": f"{rng.randrange(2, 5)}.{rng.randrange(6)}",
    }
    chosen = rng.sample(sorted(choices), rng.choice((1, 1, 2)))
    return play_update(scene, quote, {name: choices[name] for name in chosen})


def quote_details(scene: Scene) -> None:
    """One quote."""
    quote = scene.pick("Quote")
    if quote is None:
        return create_quote(scene)
    label, pointer = scene.label(quote)
    utterance = scene.phrase(_VIEW_QUOTE, label=label)
    reply = f"{quote.name}: {_state(quote)}."
    return scene.play("quote_details", {"quote_id": pointer}, utterance, reply=reply, gives=quote)


def cancel_quote(scene: Scene) -> None:
    """Takes a quote back; it stays on file."""
    quote = scene.pick("Quote", _is_live)
    if quote is None:
        return create_quote(scene)
    label, pointer = scene.label(quote)
    quote.update({"status": "Canceled"})
    utterance = _sentence(scene.phrase(_CANCEL, label=label))
    reply = f"Canceled quote {quote.name}."
    return scene.play("cancel_quote", {"quote_id": pointer}, utterance, reply=reply, gives=quote)


def delete_quote(scene: Scene) -> None:
    """Removes a quote."""
    quote = scene.pick("Quote")
    if quote is None:
        return create_quote(scene)
    label, pointer = scene.label(quote)
    utterance = _sentence(scene.phrase(_DELETE, label=label))
    reply = f"Deleted quote {quote.name}."
    scene.play("delete_quote", {"quote_id": pointer}, utterance, reply=reply)
    scene.world.delete(quote)
    return None


def compare_quotes(scene: Scene) -> None:
    """Two or three quotes side by side."""
    _compare(scene, "compare_quotes", _COMPARE)


def compare_quote_details(scene: Scene) -> None:
    """Two or three quotes with amounts, statuses and their sum."""
    _compare(scene, "compare_quote_details", _COMPARE_DETAILS)


def quote_prefixes(scene: Scene) -> None:
    """The prefixes in use."""
    quotes = scene.world.rows["Quote"]
    prefixes = sorted({quote.fields["quote_prefix"] for quote in quotes if "quote_prefix" in quote.fields})
    reply = f"Quote prefixes in use: {', '.join(prefixes)}." if prefixes else "No quote has a prefix."
    scene.play("quote_prefixes", {}, scene.phrase(_PREFIXES), reply=reply)


def create_contract(scene: Scene) -> None:
    """A contract with a client, mostly for one of its deals."""
    deal = scene.pick("Opportunity")
    if deal is None or deal.client is None:
        return create_new_opportunity(scene)
    rng = scene.rng
    label, pointer = scene.label(deal.client)
    args: dict[str, Any] = {"client_id": pointer}
    told: dict[str, Any] = {}
    own: dict[str, Any] = {"status": "Pending"}
    linked = deal if scene.chance(0.7) else None
    if linked:
        args["opportunity_id"] = told["opportunity"] = scene.point(deal)
        own["value"] = deal.fields["amount"]
        told["value"], args["value"] = scene.amount_of(deal)
    year = rng.randrange(2035, 2038)
    dates = {"start_date": date_text(rng, year), "end_date": date_text(rng, year + 2)}
    extra = dates if scene.chance(0.5) else {}
    extra |= optional(scene, {"status": rng.choice(("Active", "Pending"))}, 0.5)
    file = f"https://files.example.com/contracts/{rng.randrange(10**6):06d}.pdf"
    extra |= optional(scene, {"document_url": file}, 0.2)
    utterance = _sentence(
        scene.phrase(_CONTRACT, client=label, details=details({**told, **extra}, lead=", with "))
    )
    row = scene.world.add("Contract", {**own, **extra}, None, client=deal.client, opportunity=linked)
    reply = f"Created a contract for {deal.client.name}, status {row.fields['status']}"
    reply += f", value {money(own['value'])}." if linked else "."
    return scene.play("create_contract", {**args, **extra}, utterance, reply=reply, gives=row)


def upload_document(scene: Scene) -> None:
    """A file for a deal, a client, a quote or a contract."""
    target = _target(scene, ("Opportunity", "Client", "Quote", "Contract"))
    label, pointer = scene.label(target)
    file = scene.rng.choice(names.DOCUMENTS)
    link = "document_url" if scene.chance(0.5) else "file_url"
    choices = {
        "uploaded_by": scene.rng.choice(names.OWNERS),
        link: f"https://files.example.com/{scene.rng.randrange(10**6):06d}/{file}",
    }
    extra = optional(scene, choices, 0.3)
    args = {"entity_type": target.entity, "entity_id": pointer, "file_name": file, **extra}
    utterance = scene.phrase(_UPLOAD, file=file, label=label, details=details(extra, lead=", with "))
    row = scene.world.add("Document", {"file_name": file}, None, target=target)
    reply = f"Attached {file} to the {target.entity.lower()}."
    scene.play("upload_document", args, utterance, reply=reply, gives=row)


def add_note(scene: Scene) -> None:
    """A remark on a deal, a client, a contact, a quote or a contract."""
    target = _target(scene, ("Opportunity", "Client", "Contact", "Quote", "Contract"))
    label, pointer = scene.label(target)
    content = scene.rng.choice(names.REMARKS)
    extra = optional(scene, {"created_by": scene.rng.choice(names.OWNERS)}, 0.3)
    args = {"entity_type": target.entity, "entity_id": pointer, "content": content, **extra}
    signed = f" Sign it as {extra['created_by']}." if extra else ""
    utterance = scene.phrase(_NOTE, label=label, content=content, details=signed)
    row = scene.world.add("Note", {"content": content}, None, target=target)
    reply = f"Added the note to the {target.entity.lower()}: {content}"
    scene.play("add_note", args, utterance, reply=reply, gives=row)


def _compare(scene: Scene, tool: str, templates: tuple[str, ...]) -> None:
    quotes = scene.world.rows["Quote"]
    if len(quotes) < 2:  # noqa: PLR2004 - comparing takes two
        return create_quote(scene)
    chosen = scene.rng.sample(quotes, min(len(quotes), scene.rng.choice((2, 2, 3))))
    pointers = [scene.point(quote) for quote in chosen]
    reply = "; ".join(f"{quote.name}: {_state(quote)}" for quote in chosen)
    if tool == "compare_quote_details":
        reply += f"; total {money(sum(quote.fields['amount'] for quote in chosen))}"
    utterance = scene.phrase(templates, ids=join_words(pointers))
    return scene.play(tool, {"quote_ids": pointers}, utterance, reply=f"{reply}.")


def _target(scene: Scene, entities: tuple[str, ...]) -> Row:
    """Something to attach to; there is always a client."""
    row = scene.pick(scene.rng.choice(entities)) or scene.pick("Client")
    assert row is not None  # clients are seeded, and no turn deletes one
    return row


def _is_live(quote: Row) -> bool:
    return bool(quote.fields["status"] != "Canceled")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _state(quote: Row) -> str:
    return f"{money(quote.fields['amount'])}, {quote.fields['status']}"
