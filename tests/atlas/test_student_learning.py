"""The offline student with what the offline learner writes, on the dataset that comes along."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import pytest

from crm_assets.atlas.config import AtlasConfig
from crm_assets.atlas.learning import LearningCase, learn
from crm_assets.atlas.outcomes import Reward
from crm_assets.atlas.playbook import LearningState, merge, render_playbook
from crm_assets.atlas.student import Student
from crm_assets.atlas.transcript import make_transcript
from crm_assets.conversations import Conversation, load_conversations
from crm_assets.crm import TOOLS, SandboxPool
from crm_assets.database import Databases
from crm_assets.harness import ConversationRunner, GroundTruthStore
from crm_assets.records import ConversationResult
from tests.conftest import REPOSITORY
from tests.offline_models.direct import DirectModels

NOW = "2025-01-01T00:00:00+00:00"
TOOL_TEXTS = {name: tool.description for name, tool in TOOLS.items()}


def offline(role: str) -> dict[str, str]:
    return {"provider": "offline", "model": role}


CONFIG = AtlasConfig.model_validate(
    {
        "agent": {"llm": offline("student")},
        "teacher": {"llm": offline("teacher")},
        "rim": {"small_model": offline("judge"), "large_model": offline("judge")},
        "learning": {"llm": offline("learner")},
    }
)


class Demo:
    """Runs the chains of the demo dataset, once through."""

    def __init__(self, pool: SandboxPool, store: GroundTruthStore) -> None:
        self.models = DirectModels()
        path = REPOSITORY / "data" / "conversations" / "demo.jsonl"
        every = load_conversations(path)
        # Half of the turns, in few learning keys: what is learnt comes up again.
        self.conversations = [one for one in every if one.workflow_category.startswith("Chained")]
        self._truths = store.get_many(self.conversations)
        self._runner = ConversationRunner(pool)

    async def tool_success(self, *, learning: bool) -> float:
        """The share of turns whose call was right."""
        states: dict[tuple[str, str], LearningState] = defaultdict(LearningState)
        verdicts: list[bool] = []
        for conversation, truth in zip(self.conversations, self._truths, strict=True):
            key = (conversation.workflow_category, conversation.complexity_level)
            pamphlet = render_playbook(states[key], "student") if learning else None
            student = Student(self.models, "s", CONFIG, pamphlet=pamphlet)
            result = await self._runner.run(conversation, truth, agent=student)
            verdicts += [bool(turn.tool_success) for turn in result.per_turn_results]
            if learning:
                states[key] = await self._learnt(states[key], conversation, result)
        return sum(verdicts) / len(verdicts)

    async def _learnt(
        self, state: LearningState, conversation: Conversation, result: ConversationResult
    ) -> LearningState:
        reward = Reward(status="scored", score=0.5, rationale=None)
        transcript = make_transcript(result, conversation, feedback="verdicts")
        case = LearningCase(transcript, reward, state, (), "paired", None, NOW, TOOL_TEXTS)
        outcome = await learn(self.models, "s", CONFIG, case)
        assert outcome.error is None
        assert outcome.update is not None
        assert outcome.update.rejected == ()  # what it writes gets through the gates
        return merge(
            state,
            outcome.update,
            None,
            session="s",
            conversation=conversation.conversation_id,
            reward=0.5,
            now=NOW,
            pruning=CONFIG.learning.pruning_config,
        )


@pytest.fixture(scope="module")
def demo(databases: Databases) -> Iterator[Demo]:
    with SandboxPool(databases.sandbox) as pool, SandboxPool(databases.sandbox) as truths:
        store = GroundTruthStore(databases.sandbox, truths)
        yield Demo(pool, store)
        store.close()


def test_the_offline_student_is_an_honest_baseline_that_learns(demo):
    without = asyncio.run(demo.tool_success(learning=False))
    assert 0.60 <= without <= 0.80
    learning = asyncio.run(demo.tool_success(learning=True))
    assert learning >= without + 0.03
