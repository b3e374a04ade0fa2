"""What the turns that must fail have in common."""

from __future__ import annotations

from typing import Any

from crm_assets.generator.conversation_builder import Scene
from crm_assets.generator.rows import OPEN_STAGES

__all__ = ["new_deal", "new_deal_text", "refuse"]


def refuse(
    scene: Scene,
    tool: str,
    args: dict[str, Any],
    utterance: str,
    *,
    category: str,
    error: str,
) -> None:
    """Add the turn: `tool` must answer with an error that holds `error`."""
    utterance = utterance[:1].upper() + utterance[1:]
    scene.play(tool, args, utterance, failure=(category, error))


def new_deal(scene: Scene, **changes: Any) -> dict[str, Any]:
    """Arguments for a new deal with a client that is there, `changes` applied."""
    client = scene.pick("Client") or scene.world.rows["Client"][0]
    return {
        "name": scene.world.deal_name(),
        "client_id": scene.point(client),
        "amount": scene.world.amount(),
        "stage": scene.rng.choice(OPEN_STAGES),
        **changes,
    }


def new_deal_text(scene: Scene, args: dict[str, Any]) -> str:
    """How a person asks for it."""
    closing = f", closing on {args['close_date']}" if "close_date" in args else ""
    return scene.phrase(
        (
            'Create the opportunity "{name}" for client {client}: {amount}, stage {stage}{closing}.',
            'Open a deal named "{name}" with client {client} over {amount} in stage {stage}{closing}.',
            'Log "{name}" for client {client} as an opportunity in {stage} worth {amount}{closing}.',
        ),
        name=args["name"],
        client=args["client_id"],
        amount=scene.money(args["amount"]),
        stage=args["stage"],
        closing=closing,
    )
