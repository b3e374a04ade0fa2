"""Turns about quotes, contracts, documents and notes."""

from __future__ import annotations

from crm_assets.crm.entities import DOCUMENT, NOTE, QUOTE
from crm_assets.generator import names
from crm_assets.generator.conversation_builder import (
    ConversationBuilder,
    about,
    details,
    join_words,
    money,
)
from crm_assets.generator.crm_state import date_text
from crm_assets.generator.deals import create_new_opportunity
from crm_assets.generator.rows import CANCELED, QUOTE_STATUSES, Fields, Row
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


_NOTE_TARGETS = NOTE.choices("entity_type")
# In the order of the notes': the shipped datasets depend on it.
_DOCUMENT_TARGETS = tuple(kind for kind in _NOTE_TARGETS if kind in DOCUMENT.choices("entity_type"))


@about("Opportunity", otherwise=create_new_opportunity)
def create_quote(builder: ConversationBuilder, deal: Row) -> None:
    """Create a quote on a deal."""
    rng = builder.rng
    amount_text, amount = builder.amount_of(deal)
    value = deal.fields["amount"]
    if builder.chance(0.5):
        amount = value = builder.state.amount()
        amount_text = builder.money(value)
    label, pointer = builder.label(deal)
    choices = {
        "name": f"{deal.name} {rng.choice(('Final', 'Revised', 'Starter', 'Premium'))} Quote",
        "valid_until": date_text(rng),
        "quote_prefix": rng.choice(names.PREFIXES),
        "version": f"{rng.randrange(1, 4)}.{rng.randrange(1, 6)}",
    }
    extra = builder.some(choices, 0.3)
    status = rng.choice(("Draft", "Draft", "Sent", "Approved"))
    args = {"opportunity_id": pointer, "amount": amount, "status": status, **extra}
    said = dict(extra)
    row_id = builder.keep_id(QUOTE, args, said)
    utterance = builder.phrase(
        _NEW_QUOTE, deal=label, amount=amount_text, status=status, details=details(said)
    )
    fields = {"name": f"{deal.name} Quote", "amount": value, "status": status, **extra}
    quote = builder.state.add("Quote", fields, row_id, opportunity=deal)
    reply = f"Created quote {quote.name}: {_state(quote)}."
    builder.play("create_quote", args, utterance, reply=reply, gives=quote)


@about("Quote", otherwise=create_quote, where=lambda row: row.is_live)
def modify_quote(builder: ConversationBuilder, quote: Row) -> None:
    """Change one or two fields of a quote."""
    rng = builder.rng
    choices: Fields = {
        "amount": builder.state.amount(),
        "status": rng.choice([status for status in QUOTE_STATUSES if status != quote.fields["status"]]),
        "valid_until": date_text(rng),
        "version": f"{rng.randrange(2, 5)}.{rng.randrange(6)}",
    }
    play_update(builder, quote, choices, rng.choice((1, 1, 2)))


@about("Quote", otherwise=create_quote)
def quote_details(builder: ConversationBuilder, quote: Row) -> None:
    """Show one quote."""
    builder.act(quote, "quote_details", _VIEW_QUOTE, f"{quote.name}: {_state(quote)}.", gives=quote)


@about("Quote", otherwise=create_quote, where=lambda row: row.is_live)
def cancel_quote(builder: ConversationBuilder, quote: Row) -> None:
    """Cancel a quote; it stays on file."""
    quote.update({"status": CANCELED})
    builder.act(quote, "cancel_quote", _CANCEL, f"Canceled quote {quote.name}.", gives=quote)


@about("Quote", otherwise=create_quote)
def delete_quote(builder: ConversationBuilder, quote: Row) -> None:
    """Delete a quote."""
    builder.act(quote, "delete_quote", _DELETE, f"Deleted quote {quote.name}.")
    builder.state.delete(quote)


def compare_quotes(builder: ConversationBuilder) -> None:
    """Show two or three quotes side by side."""
    _compare(builder, "compare_quotes", _COMPARE)


def compare_quote_details(builder: ConversationBuilder) -> None:
    """Show two or three quotes with amounts, statuses and their sum."""
    _compare(builder, "compare_quote_details", _COMPARE_DETAILS)


def quote_prefixes(builder: ConversationBuilder) -> None:
    """List the prefixes in use."""
    quotes = builder.state.rows["Quote"]
    prefixes = sorted({quote.fields["quote_prefix"] for quote in quotes if "quote_prefix" in quote.fields})
    reply = f"Quote prefixes in use: {', '.join(prefixes)}." if prefixes else "No quote has a prefix."
    builder.play("quote_prefixes", {}, builder.phrase(_PREFIXES), reply=reply)


@about("Opportunity", otherwise=create_new_opportunity)
def create_contract(builder: ConversationBuilder, deal: Row) -> None:
    """Create a contract with a deal's client, mostly for that deal."""
    client = deal.client
    assert client is not None  # every opportunity belongs to one
    rng = builder.rng
    label, pointer = builder.label(client)
    args: Fields = {"client_id": pointer}
    said: Fields = {}
    own: Fields = {"status": "Pending"}
    linked = deal if builder.chance(0.7) else None
    if linked:
        args["opportunity_id"] = said["opportunity"] = builder.point(deal)
        own["value"] = deal.fields["amount"]
        said["value"], args["value"] = builder.amount_of(deal)
    year = rng.randrange(2035, 2038)
    dates = {"start_date": date_text(rng, year), "end_date": date_text(rng, year + 2)}
    extra = dates if builder.chance(0.5) else {}
    extra |= builder.some({"status": rng.choice(("Active", "Pending"))}, 0.5)
    file = f"https://files.example.com/contracts/{rng.randrange(10**6):06d}.pdf"
    extra |= builder.some({"document_url": file}, 0.2)
    utterance = builder.phrase(_CONTRACT, client=label, details=details({**said, **extra}))
    row = builder.state.add("Contract", {**own, **extra}, None, client=client, opportunity=linked)
    reply = f"Created a contract for {client.name}, status {row.fields['status']}"
    reply += f", value {money(own['value'])}." if linked else "."
    builder.play("create_contract", {**args, **extra}, utterance, reply=reply, gives=row)


def upload_document(builder: ConversationBuilder) -> None:
    """Attach a file to a record."""
    target = _target(builder, _DOCUMENT_TARGETS)
    label, pointer = builder.label(target)
    rng = builder.rng
    file = rng.choice(names.DOCUMENTS)
    link = "document_url" if builder.chance(0.5) else "file_url"
    choices = {
        "uploaded_by": rng.choice(names.OWNERS),
        link: f"https://files.example.com/{rng.randrange(10**6):06d}/{file}",
    }
    extra = builder.some(choices, 0.3)
    args = {"entity_type": target.entity, "entity_id": pointer, "file_name": file, **extra}
    utterance = builder.phrase(_UPLOAD, file=file, label=label, details=details(extra))
    row = builder.state.add("Document", {"file_name": file}, None, target=target)
    reply = f"Attached {file} to the {target.entity.lower()}."
    builder.play("upload_document", args, utterance, reply=reply, gives=row)


def add_note(builder: ConversationBuilder) -> None:
    """Add a remark to a record."""
    target = _target(builder, _NOTE_TARGETS)
    label, pointer = builder.label(target)
    content = builder.rng.choice(names.REMARKS)
    extra = builder.some({"created_by": builder.rng.choice(names.OWNERS)}, 0.3)
    args = {"entity_type": target.entity, "entity_id": pointer, "content": content, **extra}
    signed = f" Sign it as {extra['created_by']}." if extra else ""
    utterance = builder.phrase(_NOTE, label=label, content=content, details=signed)
    row = builder.state.add("Note", {"content": content}, None, target=target)
    reply = f"Added the note to the {target.entity.lower()}: {content}"
    builder.play("add_note", args, utterance, reply=reply, gives=row)


def _compare(builder: ConversationBuilder, tool: str, templates: tuple[str, ...]) -> None:
    quotes = builder.state.rows["Quote"]
    if len(quotes) < 2:  # noqa: PLR2004 - comparing takes two
        return create_quote(builder)
    chosen = builder.rng.sample(quotes, min(len(quotes), builder.rng.choice((2, 2, 3))))
    pointers = [builder.point(quote) for quote in chosen]
    reply = "; ".join(f"{quote.name}: {_state(quote)}" for quote in chosen)
    if tool == "compare_quote_details":
        reply += f"; total {money(sum(quote.fields['amount'] for quote in chosen))}"
    utterance = builder.phrase(templates, ids=join_words(pointers))
    return builder.play(tool, {"quote_ids": pointers}, utterance, reply=f"{reply}.")


def _target(builder: ConversationBuilder, entities: tuple[str, ...]) -> Row:
    return builder.pick(builder.rng.choice(entities)) or builder.pick_client()


def _state(quote: Row) -> str:
    return f"{money(quote.fields['amount'])}, {quote.fields['status']}"
