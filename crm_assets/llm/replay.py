"""A recorded run again, from its ledger: no network, no waiting, no litellm."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crm_assets.llm.asking import Call, RecordingModels
from crm_assets.llm.attempts import Attempts
from crm_assets.llm.entries import LedgerEntry
from crm_assets.llm.errors import ModelError
from crm_assets.llm.interface import Answer
from crm_assets.llm.ledger import Ledger, Recording
from crm_assets.llm.retries import RetryPolicy

__all__ = ["ReplayModels"]


class ReplayModels(RecordingModels):
    """Answers each call with what the recorded run was answered, failures and costs included.

    A call that its caller gave up on when it was recorded (a timeout around it) ends in `TimeoutError`, as
    it did for the caller then.
    """

    def __init__(
        self, recorded: Path, *, ledger: Ledger | None = None, retries: RetryPolicy | None = None
    ) -> None:
        """Read the ledger of the recorded run.

        Args:
            recorded: that ledger.
            ledger: where the attempts are recorded again; left out, only sums are kept.
            retries: the policy of the recorded run.

        Raises:
            InputError: there is no such file, or a line of it is none of a ledger's; names file and line.
        """
        super().__init__(ledger, retries or RetryPolicy())
        self._recording = Recording.read(recorded)

    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        """What a session started from in the recorded run; None if that was not noted."""
        return self._recording.noted(session, kind)

    async def aclose(self) -> None:
        """There is nothing to close; the ledger stays open."""

    def _recorded(self, call: Call) -> Iterable[LedgerEntry]:
        # An interrupted replay has recorded the first of them before.
        known = len(self.ledger.earlier_attempts(call.caller.session, call.key))
        for number, entry in enumerate(self._recording.attempts(call.caller.session, call.key)):
            if number >= known:
                self.ledger.append(entry)
            yield entry

    async def _go_on(self, call: Call, attempts: Attempts) -> Answer:
        if attempts.was_cancelled:
            raise TimeoutError(f"The recorded run did not wait for {call.request.model.name}.")
        if (error := attempts.verdict()) is not None:
            raise error
        raise ModelError(
            f"The recorded run holds no such call of the {call.caller.role} in session "
            f"{call.caller.session}: prompts, configuration or code differ from when it was recorded."
        )
