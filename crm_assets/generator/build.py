"""Conversation number i of seed s: a pure function of the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crm_assets.conversations.conversation import Conversation
from crm_assets.generator.conversation_builder import Scene
from crm_assets.generator.failures import FAILURES
from crm_assets.generator.rng import Dice
from crm_assets.generator.scenarios import (
    MOVES,
    SHAPES,
    choose_chain,
    choose_moves,
    choose_story,
)

__all__ = ["build_conversation"]

_FAILURE_EVERY = 4
_SIMPLE, _MEDIUM = 2, 5
_TOOLS = tuple(MOVES)

Move = Callable[[Scene], None]


def build_conversation(seed: int, index: int) -> Conversation:
    """The conversation at `index` (from 0) of the dataset that `seed` stands for.

    Tools, lengths and kinds of failure rotate with the index, so that any 28 conversations in a row show
    every tool; everything else is random.
    """
    rng = Dice(f"{seed}/{index}")
    scene = Scene(rng)
    tool = _TOOLS[(index + seed) % len(_TOOLS)]
    fewest, most = SHAPES[index % len(SHAPES)]
    failure = None
    if index % _FAILURE_EVERY == _FAILURE_EVERY - 2:
        failure = FAILURES[(index // _FAILURE_EVERY + seed) % len(FAILURES)]
    if most == 0:
        particulars = _play_chain(scene, tool, failure)
    else:
        particulars = _play_story(scene, tool, rng.randrange(fewest, most + 1), failure)
    failed = [turn.turn_id for turn in scene.turns if not turn.expect_success]
    return Conversation(
        conversation_id=f"crm-s{seed}-{index:06d}",
        complexity_level=_complexity(len(scene.turns)),
        turns=tuple(scene.turns),
        initial_entities={"seed_data": scene.seeds},
        contains_failure=bool(failed),
        failure_turn=failed[0] if failed else None,
        **particulars,
    )


def _play_story(scene: Scene, tool: str, count: int, failure: Move | None) -> dict[str, Any]:
    story = choose_story(scene.rng, tool)
    moves = choose_moves(scene.rng, story, tool, max(1, count - 1) if failure else count)
    if failure:
        moves.insert(scene.rng.randrange(len(moves) + 1), failure)
    for move in moves:
        move(scene)
    return {"workflow_category": story.category}


def _play_chain(scene: Scene, tool: str, failure: Move | None) -> dict[str, Any]:
    chain, segments = choose_chain(scene.rng, tool)
    failing = scene.rng.randrange(len(segments)) if failure else None
    boundaries: list[int] = []
    summaries: list[dict[str, Any]] = []
    for place, (category, moves) in enumerate(segments):
        start = scene.number
        for move in [*moves, failure] if failure and place == failing else moves:
            move(scene)
        boundaries.append(len(scene.turns))
        failed = [turn.turn_id for turn in scene.turns[start - 1 :] if not turn.expect_success]
        summaries.append(
            {
                "segment_number": place + 1,
                "workflow_category": category,
                "expected_outcome": "failure" if failed else "success",
                "turn_range": {"start": start, "end": boundaries[-1]},
                "failure_turn": failed[0] if failed else None,
            }
        )
    return {
        "workflow_category": f"Chained: {chain.title}",
        "chain_id": chain.chain_id,
        "segment_boundaries": boundaries,
        "expected_outcome": "Multi-segment workflow completion",
        "cumulative_context": {"segment_summaries": summaries},
    }


def _complexity(turns: int) -> str:
    if turns <= _SIMPLE:
        return "simple"
    return "medium" if turns <= _MEDIUM else "complex"
