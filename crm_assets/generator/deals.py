"""Turns about opportunities."""

from __future__ import annotations

from collections import Counter

from crm_assets.crm.entities import CLOSED_STAGES, OPPORTUNITY
from crm_assets.generator import names
from crm_assets.generator.conversation_builder import (
    ConversationBuilder,
    TurnTemplate,
    about,
    details,
    join_words,
    money,
)
from crm_assets.generator.crm_state import date_text
from crm_assets.generator.rows import OPEN_STAGES, Fields, Row
from crm_assets.generator.updates import play_changes, play_update

__all__ = [
    "clone_opportunity",
    "close_opportunity",
    "create_new_opportunity",
    "delete_opportunity",
    "modify_opportunity",
    "opportunity_details",
    "summarize_opportunities",
    "view_opportunity_details",
]

_NEW = (
    'Create an opportunity called "{name}" for {client}: amount {amount}, stage {stage}{details}.',
    'Open a new deal for {client}, "{name}", worth {amount}, in stage {stage}{details}.',
    'Please log the opportunity "{name}" with {client}. It is at {stage} for {amount}{details}.',
    'Add "{name}" to the pipeline of {client} at {amount}, stage {stage}{details}.',
    '{client} is interested in "{name}" for {amount}; record it as an opportunity in {stage}{details}.',
)
_VIEW = (
    "Show me {label}.",
    "What is the status of {label}?",
    "Pull up the details of {label}.",
    "Give me the full picture of {label}.",
    "I would like to see {label}.",
    "How are we doing on {label}? Show me its details.",
)
_CLONE = (
    "Make a copy of {label}.",
    "Clone {label}.",
    "Duplicate {label} so that we can reuse it.",
    "We need a second deal just like {label}; please clone it.",
    "Copy {label} as the starting point for a new deal.",
)
_DELETE = (
    "Delete {label}.",
    "Please remove {label}; it was entered by mistake.",
    "Drop {label} from the CRM for good.",
    "{label} is a duplicate. Delete it.",
    "Get rid of {label}, it will not happen.",
)
_SUMMARY = (
    "Summarize our opportunities{filters}.",
    "Give me a summary of the pipeline{filters}.",
    "How much is in the pipeline{filters}? A summary of the opportunities is enough.",
    "What do the opportunities{filters} add up to? Summarize them.",
    "I need the pipeline totals{filters}.",
)


def create_new_opportunity(builder: ConversationBuilder) -> None:
    """Create a deal with an existing client."""
    client = builder.pick_client()
    rng, state = builder.rng, builder.state
    own: Fields = {"name": state.deal_name(), "amount": state.amount(), "stage": rng.choice(OPEN_STAGES)}
    choices = {
        "probability": rng.randrange(1, 20) * 5,
        "close_date": date_text(rng),
        "owner": rng.choice(names.OWNERS),
    }
    extra = builder.some(choices)
    label, pointer = builder.label(client)
    args, said = {**own, "client_id": pointer, **extra}, dict(extra)
    row_id = builder.keep_id(OPPORTUNITY, args, said)
    utterance = builder.phrase(
        _NEW,
        name=own["name"],
        client=label,
        amount=builder.money(own["amount"]),
        stage=own["stage"],
        details=details(said),
    )
    row = state.add("Opportunity", {**own, **extra}, row_id, client=client)
    reply = f"Created opportunity {row.name} for {client.name}: {_state(row)}."
    builder.play("create_new_opportunity", args, utterance, reply=reply, gives=row)


@about("Opportunity", otherwise=create_new_opportunity, where=lambda row: row.is_open)
def close_opportunity(builder: ConversationBuilder, deal: Row) -> None:
    """Win or lose a deal."""
    play_changes(builder, deal, {"stage": builder.rng.choice(CLOSED_STAGES)})


@about("Opportunity", otherwise=create_new_opportunity, where=lambda row: row.is_open)
def modify_opportunity(builder: ConversationBuilder, deal: Row) -> None:
    """Move a deal along, or correct it; sometimes close it."""
    rng = builder.rng
    if builder.chance(0.15):
        return close_opportunity(builder)
    choices: Fields = {
        "stage": rng.choice([stage for stage in OPEN_STAGES if stage != deal.fields["stage"]]),
        "amount": builder.state.amount(),
        "probability": rng.randrange(1, 20) * 5,
        "close_date": date_text(rng),
        "owner": rng.choice(names.OWNERS),
        "notes": rng.choice(names.REMARKS),
    }
    return play_update(builder, deal, choices, rng.choice((1, 1, 2, 2, 3)))


def _view(tool: str) -> TurnTemplate:
    """Return the template that shows one deal under one of the tool's two names."""

    @about("Opportunity", otherwise=create_new_opportunity)
    def view(builder: ConversationBuilder, deal: Row) -> None:
        builder.act(deal, tool, _VIEW, f"{deal.name}: {_state(deal)}.", gives=deal)

    return view


view_opportunity_details = _view("view_opportunity_details")
opportunity_details = _view("opportunity_details")


@about("Opportunity", otherwise=create_new_opportunity, where=lambda row: row.is_open)
def clone_opportunity(builder: ConversationBuilder, deal: Row) -> None:
    """Copy an open deal, named as the CRM names copies."""
    fields = {**deal.fields, "name": f"{deal.name} (Clone)"}
    copy = builder.state.add("Opportunity", fields, None, client=deal.client)
    builder.act(deal, "clone_opportunity", _CLONE, f"Created {copy.name}: {_state(copy)}.", gives=copy)


@about("Opportunity", otherwise=create_new_opportunity)
def delete_opportunity(builder: ConversationBuilder, deal: Row) -> None:
    """Delete a deal, and its quotes with it."""
    builder.act(deal, "delete_opportunity", _DELETE, f"Deleted opportunity {deal.name}.")
    builder.state.delete(deal)


def summarize_opportunities(builder: ConversationBuilder) -> None:
    """Count and total the pipeline, or a part of it."""
    deal = builder.pick("Opportunity")
    wanted: Fields = {}
    if deal is not None:
        owner = deal.fields.get("owner")
        options: list[Fields] = [{}, {"stage": deal.fields["stage"]}, {"client_id": deal.client}]
        options += [{"owner": owner}] if owner else []
        wanted = builder.rng.choice(options)
    criteria = builder.pointed(wanted)
    filters = "".join(f" for {name.removesuffix('_id')} {value}" for name, value in criteria.items())
    utterance = builder.phrase(_SUMMARY, filters=filters)
    found = builder.state.find("Opportunity", wanted)
    args = builder.spelled("summarize_opportunities", criteria) if criteria else {}
    builder.play("summarize_opportunities", args, utterance, reply=_summary(found))


def _summary(found: list[Row]) -> str:
    if not found:
        return "There are no opportunities."
    noun = "opportunity" if len(found) == 1 else OPPORTUNITY.table
    total = money(sum(row.fields["amount"] for row in found))
    stages = Counter(row.fields["stage"] for row in found)
    by_stage = join_words([f"{count} in {stage}" for stage, count in sorted(stages.items())])
    return f"{len(found)} {noun} worth {total}: {by_stage}."


def _state(deal: Row) -> str:
    state = f"stage {deal.fields['stage']}, amount {money(deal.fields['amount'])}"
    # The CRM decides what closing does to a probability.
    if deal.fields.get("probability") is not None and deal.is_open:
        state += f", probability {deal.fields['probability']}%"
    return state
