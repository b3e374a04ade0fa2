"""Conversation number i of seed s: a pure function of the two."""

from __future__ import annotations

from crm_assets.conversations.conversation import Conversation
from crm_assets.generator.conversation_builder import ConversationBuilder, TurnTemplate
from crm_assets.generator.refusals import REFUSALS
from crm_assets.generator.rng import SeededRng
from crm_assets.generator.rows import Fields
from crm_assets.generator.scenarios import (
    SHAPES,
    TURN_TEMPLATES,
    choose_chain,
    choose_scenario,
    choose_turns,
)

__all__ = ["build_conversation"]

_FAILURE_EVERY = 4
_SIMPLE, _MEDIUM = 2, 5
_TOOLS = tuple(TURN_TEMPLATES)


def build_conversation(seed: int, index: int) -> Conversation:
    """Return the conversation at `index` (from 0) of the dataset that `seed` stands for.

    Tools, lengths and kinds of failure rotate with the index, so that any 28 conversations in a row show
    every tool; everything else is random.
    """
    rng = SeededRng(f"{seed}/{index}")
    builder = ConversationBuilder(rng)
    tool = _TOOLS[(index + seed) % len(_TOOLS)]
    fewest, most = SHAPES[index % len(SHAPES)]
    failure = None
    if index % _FAILURE_EVERY == _FAILURE_EVERY - 2:
        failure = REFUSALS[(index // _FAILURE_EVERY + seed) % len(REFUSALS)]
    if most == 0:
        particulars = _play_chain(builder, tool, failure)
    else:
        particulars = _play_scenario(builder, tool, rng.randrange(fewest, most + 1), failure)
    failed = [turn.turn_id for turn in builder.turns if not turn.expect_success]
    return Conversation(
        conversation_id=f"crm-s{seed}-{index:06d}",
        complexity_level=_complexity(len(builder.turns)),
        turns=tuple(builder.turns),
        initial_entities={"seed_data": builder.seeds},
        contains_failure=bool(failed),
        failure_turn=failed[0] if failed else None,
        **particulars,
    )


def _play_scenario(
    builder: ConversationBuilder, tool: str, count: int, failure: TurnTemplate | None
) -> Fields:
    scenario = choose_scenario(builder.rng, tool)
    turns = choose_turns(builder.rng, scenario, tool, max(1, count - 1) if failure else count)
    if failure:
        turns.insert(builder.rng.randrange(len(turns) + 1), failure)
    for add_turn in turns:
        add_turn(builder)
    return {"workflow_category": scenario.category}


def _play_chain(builder: ConversationBuilder, tool: str, failure: TurnTemplate | None) -> Fields:
    chain, segments = choose_chain(builder.rng, tool)
    failing = builder.rng.randrange(len(segments)) if failure else None
    boundaries: list[int] = []
    summaries: list[Fields] = []
    for place, (category, turns) in enumerate(segments):
        start = builder.number
        for add_turn in [*turns, failure] if failure and place == failing else turns:
            add_turn(builder)
        boundaries.append(len(builder.turns))
        failed = [turn.turn_id for turn in builder.turns[start - 1 :] if not turn.expect_success]
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
