"""Turns about opportunities."""

from __future__ import annotations

from collections import Counter
from typing import Any

from crm_assets.generator import names
from crm_assets.generator.clients import create_new_client, details, kept_id, optional
from crm_assets.generator.conversation_builder import Scene, join_words, money
from crm_assets.generator.crm_state import date_text
from crm_assets.generator.rows import OPEN_STAGES, Row
from crm_assets.generator.searches import arguments
from crm_assets.generator.updates import play_update

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


def is_open(row: Row) -> bool:
    """Whether stage, amount, probability and close date may still change."""
    return not row.is_closed


def create_new_opportunity(scene: Scene) -> None:
    """A new deal with a client that is there."""
    client = scene.pick("Client")
    if client is None:
        return create_new_client(scene)
    rng, world = scene.rng, scene.world
    own: dict[str, Any] = {
        "name": world.deal_name(),
        "amount": world.amount(),
        "stage": rng.choice(OPEN_STAGES),
    }
    choices = {
        "probability": rng.randrange(1, 20) * 5,
        "close_date": date_text(rng),
        "owner": rng.choice(names.OWNERS),
    }
    extra = optional(scene, choices)
    label, pointer = scene.label(client)
    args = {**own, "client_id": pointer, **extra}
    row_id = kept_id(scene)
    told = dict(extra)
    if row_id:
        args["opportunity_id"] = told["opportunity_id"] = row_id
    utterance = scene.phrase(
        _NEW,
        name=own["name"],
        client=label,
        amount=scene.money(own["amount"]),
        stage=own["stage"],
        details=details(told, lead=", with "),
    )
    row = world.add("Opportunity", {**own, **extra}, row_id, client=client)
    reply = f"Created opportunity {row.name} for {client.name}: {_state(row)}."
    return scene.play(
        "create_new_opportunity",
        args,
        utterance[:1].upper() + utterance[1:],
        reply=reply,
        gives=row,
    )


def modify_opportunity(scene: Scene) -> None:
    """Moves a deal along, or corrects it; sometimes closes it."""
    deal = scene.pick("Opportunity", is_open)
    if deal is None:
        return create_new_opportunity(scene)
    rng = scene.rng
    if scene.chance(0.15):
        return close_opportunity(scene)
    stages = [stage for stage in OPEN_STAGES if stage != deal.fields["stage"]]
    choices: dict[str, Any] = {
        "stage": rng.choice(stages),
        "amount": scene.world.amount(),
        "probability": rng.randrange(1, 20) * 5,
        "close_date": date_text(rng),
        "owner": rng.choice(names.OWNERS),
        "notes": rng.choice(names.REMARKS),
    }
    chosen = rng.sample(sorted(choices), rng.choice((1, 1, 2, 2, 3)))
    return play_update(scene, deal, {name: choices[name] for name in chosen})


def close_opportunity(scene: Scene) -> None:
    """Wins or loses a deal."""
    deal = scene.pick("Opportunity", is_open)
    if deal is None:
        return create_new_opportunity(scene)
    return play_update(scene, deal, {"stage": scene.rng.choice(("Closed-Won", "Closed-Lost"))})


def view_opportunity_details(scene: Scene) -> None:
    """One deal, under the longer of the tool's two names."""
    _view(scene, "view_opportunity_details")


def opportunity_details(scene: Scene) -> None:
    """One deal, under the shorter of the tool's two names."""
    _view(scene, "opportunity_details")


def clone_opportunity(scene: Scene) -> None:
    """A copy of an open deal, named as the CRM names copies."""
    deal = scene.pick("Opportunity", is_open)
    if deal is None:
        return create_new_opportunity(scene)
    label, pointer = scene.label(deal)
    fields = {**deal.fields, "name": f"{deal.name} (Clone)"}
    copy = scene.world.add("Opportunity", fields, None, client=deal.client)
    reply = f"Created {copy.name}: {_state(copy)}."
    utterance = scene.phrase(_CLONE, label=label)
    return scene.play("clone_opportunity", {"opportunity_id": pointer}, utterance, reply=reply, gives=copy)


def delete_opportunity(scene: Scene) -> None:
    """Removes a deal, and its quotes with it."""
    deal = scene.pick("Opportunity")
    if deal is None:
        return create_new_opportunity(scene)
    label, pointer = scene.label(deal)
    utterance = scene.phrase(_DELETE, label=label)
    scene.play(
        "delete_opportunity",
        {"opportunity_id": pointer},
        utterance[:1].upper() + utterance[1:],
        reply=f"Deleted opportunity {deal.name}.",
    )
    scene.world.delete(deal)
    return None


def summarize_opportunities(scene: Scene) -> None:
    """Count and worth of the pipeline, or of a part of it."""
    deal = scene.pick("Opportunity")
    wanted: dict[str, Any] = {}
    if deal is not None:
        owner = deal.fields.get("owner")
        options: list[dict[str, Any]] = [{}, {"stage": deal.fields["stage"]}, {"client_id": deal.client}]
        options += [{"owner": owner}] if owner else []
        wanted = scene.rng.choice(options)
    criteria = {
        name: scene.point(value) if isinstance(value, Row) else value for name, value in wanted.items()
    }
    told = [f"{name.removesuffix('_id')} {value}" for name, value in criteria.items()]
    utterance = scene.phrase(_SUMMARY, filters=f" for {told[0]}" if told else "")
    found = scene.world.find("Opportunity", wanted)
    scene.play(
        "summarize_opportunities",
        arguments(scene, criteria) if criteria else {},
        utterance,
        reply=_summary(found),
    )


def _view(scene: Scene, tool: str) -> None:
    deal = scene.pick("Opportunity")
    if deal is None:
        return create_new_opportunity(scene)
    label, pointer = scene.label(deal)
    utterance = scene.phrase(_VIEW, label=label)
    reply = f"{deal.name}: {_state(deal)}."
    return scene.play(tool, {"opportunity_id": pointer}, utterance, reply=reply, gives=deal)


def _state(deal: Row) -> str:
    told = f"stage {deal.fields['stage']}, amount {money(deal.fields['amount'])}"
    # What closing does to a probability is the CRM's business.
    if deal.fields.get("probability") is not None and not deal.is_closed:
        told += f", probability {deal.fields['probability']}%"
    return told


def _summary(found: list[Row]) -> str:
    if not found:
        return "There are no opportunities."
    noun = "opportunity" if len(found) == 1 else "opportunities"
    total = money(sum(row.fields["amount"] for row in found))
    stages = Counter(row.fields["stage"] for row in found)
    by_stage = join_words([f"{count} in {stage}" for stage, count in sorted(stages.items())])
    return f"{len(found)} {noun} worth {total}: {by_stage}."
