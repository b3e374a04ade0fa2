"""The lesson of one session: merged into its key's learning state once the session is approved."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from crm_assets.atlas.config import PruningConfig
from crm_assets.atlas.playbook.learning_state import LearningState, LearningUpdate
from crm_assets.atlas.playbook.merge import merge
from crm_assets.atlas.playbook.usage import UsageReport

__all__ = ["Lesson"]


class Lesson(BaseModel):
    """The arguments of a merge, so that they can be kept until somebody approves the session."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    session: str
    """The session's key."""
    conversation: str
    """The conversation's ID."""
    reward: float | None
    """0 to 1; None for a session without a reward."""
    now: str
    """End of the session, ISO 8601, UTC."""
    update: LearningUpdate | None
    """Entries that the learner proposed and the gates accepted; None if nothing was proposed."""
    usage: UsageReport | None
    """Uses of the entries in its prompts; None if usage is not tracked."""
    pruning: PruningConfig
    """Pruning settings of the run."""

    def merged_into(self, state: LearningState) -> LearningState:
        """Return `state` with this lesson. Pure."""
        return merge(
            state,
            self.update,
            self.usage,
            session=self.session,
            conversation=self.conversation,
            reward=self.reward,
            now=self.now,
            pruning=self.pruning,
        )
