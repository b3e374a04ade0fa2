"""The client to the models: the only way that the rest of crm_assets asks one.

Each attempt is in the ledger before its reply is handed on, whatever comes of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

import anyio

from crm_assets.errors import ConfigError
from crm_assets.llm.asking import Call, RecordingModels
from crm_assets.llm.attempts import Attempts
from crm_assets.llm.backend import Backend, LitellmBackend
from crm_assets.llm.budget import Budget
from crm_assets.llm.entries import CallError, LedgerEntry, RecordedReply
from crm_assets.llm.failures import Failure, one_line
from crm_assets.llm.interface import Answer
from crm_assets.llm.ledger import Ledger
from crm_assets.llm.limits import ProviderLimiter, ProviderLimits
from crm_assets.llm.messages import ChatRequest
from crm_assets.llm.processes import BackendProcesses
from crm_assets.llm.redaction import make_redactor
from crm_assets.llm.replies import Completion
from crm_assets.llm.retries import RetryPolicy
from crm_assets.llm.spec import ModelSpec

__all__ = ["ModelClient"]

_CHARACTERS_A_TOKEN = 4


class ModelClient(RecordingModels):
    """Asks the models themselves, through litellm.

    What an earlier start of the run has been answered is not asked again: the ledger's reply is the reply.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        ledger: Ledger | None = None,
        limits: Mapping[str, ProviderLimits] | None = None,
        budget: Budget | None = None,
        retries: RetryPolicy | None = None,
        seed: int | None = None,
        processes: int = 0,
    ) -> None:
        """Open the client; nothing is imported or connected before the first call.

        Args:
            environment: where keys are found (`database.read_environment`).
            ledger: where attempts are recorded; left out, only sums are kept.
            limits: by provider.
            budget: of the whole run.
            retries: how often and how soon failed calls are made again.
            seed: of the waits' jitter.
            processes: that litellm runs in; 0 for this one.
        """
        super().__init__(ledger, retries or RetryPolicy())
        self._redact = make_redactor(environment)
        self._backend: Backend = (
            BackendProcesses(environment, processes)
            if processes
            else LitellmBackend(environment, self._redact)
        )
        self._limits = dict(limits or {})
        self._limiters: dict[str, ProviderLimiter] = {}
        self._budget = budget
        self._dice = random.Random(seed)  # noqa: S311  (jitter, no secret)
        self._refusals: dict[str, ConfigError] = {}

    def require(self, specs: Iterable[ModelSpec]) -> None:
        """See, before anything is spent, that models can be asked.

        Raises:
            ConfigError: a key is missing, or a budget in dollars meets a model of unknown price.
        """
        for spec in specs:
            self._backend.check(spec)
            if self._budget is not None and self._budget.usd is not None:
                self._require_price(spec)

    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        """What a session started from in an earlier start of the run; None if it never started."""
        return self.ledger.noted(session, kind)

    async def aclose(self) -> None:
        """Close all connections; the ledger stays open."""
        await self._backend.aclose()

    def _recorded(self, call: Call) -> Iterable[LedgerEntry]:
        return self.ledger.earlier_attempts(call.caller.session, call.key)

    async def _go_on(self, call: Call, attempts: Attempts) -> Answer:
        attempts.start_afresh()
        while True:
            if (error := attempts.verdict()) is not None:
                raise self._remember(call.request.model, error)
            entry, wait = await self._attempt(call, attempts)
            if answer := attempts.add(entry):
                return answer
            if wait > 0 and attempts.verdict() is None:
                await anyio.sleep(wait)

    async def _attempt(self, call: Call, attempts: Attempts) -> tuple[LedgerEntry, float]:
        """Make one attempt; its entry, and how long to wait before another."""
        spec = call.request.model
        limiter = self._limiter(spec)
        async with limiter.slot(_estimate(call.request) if limiter.counts_tokens else 0) as slot:
            self._may_ask(spec)
            completion, entry = await self._send(call, len(attempts) + 1)
            failure = completion.failure
            wait = self._asked_wait(failure)
            limiter.report(
                slot,
                tokens=completion.usage.total_tokens,
                failure=failure.kind if failure else None,
                wait_seconds=wait,
            )
        if failure is None or failure.kind == "malformed":
            return entry, 0.0
        return entry, self._retries.delay_seconds(attempts.failures_in_transport + 1, self._dice)

    async def _send(self, call: Call, number: int) -> tuple[Completion, LedgerEntry]:
        started_at, started = datetime.now(timezone.utc), time.perf_counter()

        def record(completion: Completion, error: CallError | None) -> LedgerEntry:
            seconds = time.perf_counter() - started
            entry = _entry(call, number, completion, error, started_at=started_at, latency_seconds=seconds)
            self.ledger.append(entry)
            return entry

        try:
            completion = await self._backend.send(call.request)
        except asyncio.CancelledError:
            record(Completion(), CallError(kind="cancelled", message="the caller did not wait for it"))
            raise
        return completion, record(completion, self._error(call, completion))

    def _error(self, call: Call, completion: Completion) -> CallError | None:
        if completion.failure is not None:
            return CallError(kind=completion.failure.kind, message=completion.failure.message)
        complaint = call.check(completion.reply) if call.check and completion.reply else None
        return CallError(kind="malformed", message=one_line(complaint, self._redact)) if complaint else None

    def _asked_wait(self, failure: Failure | None) -> float | None:
        """How long the provider asks everyone to wait, within reason."""
        if failure is None or failure.retry_after_seconds is None:
            return None
        return min(failure.retry_after_seconds, self._retries.longest_seconds)

    def _limiter(self, spec: ModelSpec) -> ProviderLimiter:
        address = self._backend.address(spec)
        limiter = self._limiters.get(address)
        if limiter is None:
            limits = self._limits.get(spec.provider, ProviderLimits())
            limiter = self._limiters[address] = ProviderLimiter(limits, self._dice)
        return limiter

    def _may_ask(self, spec: ModelSpec) -> None:
        refusal = self._refusals.get(spec.name)
        if refusal is not None:
            raise ConfigError(str(refusal))
        if self._budget is not None:
            if self._budget.usd is not None:
                self._require_price(spec)
            self._budget.check(self.ledger.total())

    def _require_price(self, spec: ModelSpec) -> None:
        if not self._backend.price(spec).known:
            raise ConfigError(
                f"The price of {spec.name} is not known, so a budget in dollars cannot be kept; give its "
                "usd_per_million_prompt_tokens and usd_per_million_completion_tokens in the configuration, "
                "or use a budget in tokens."
            )

    def _remember(self, spec: ModelSpec, error: Exception) -> Exception:
        """Keep others from knocking where one was turned away for good."""
        if isinstance(error, ConfigError):
            self._refusals[spec.name] = error
        return error


def _estimate(request: ChatRequest) -> int:
    """About how many tokens a call will take, before it is made."""
    characters = sum(len(message.content or "") for message in request.messages)
    characters += sum(len(call.arguments) for message in request.messages for call in message.tool_calls)
    characters += sum(len(str(tool.parameters)) + len(tool.description) for tool in request.tools)
    return characters // _CHARACTERS_A_TOKEN


def _entry(
    call: Call,
    number: int,
    completion: Completion,
    error: CallError | None,
    *,
    started_at: datetime,
    latency_seconds: float,
) -> LedgerEntry:
    reply = completion.reply
    return LedgerEntry(
        session=call.caller.session,
        role=call.caller.role,
        model=call.request.model.name,
        request_sha256=call.request.sha256,
        ordinal=call.ordinal,
        attempt=number,
        started_at=started_at.isoformat(timespec="milliseconds"),
        latency_seconds=round(latency_seconds, 6),
        prompt_tokens=completion.usage.prompt_tokens,
        completion_tokens=completion.usage.completion_tokens,
        cached_tokens=completion.usage.cached_tokens,
        reasoning_tokens=completion.usage.reasoning_tokens,
        cost_usd=completion.cost_usd,
        error=error,
        reply=None
        if reply is None
        else RecordedReply(
            content=reply.content, tool_calls=reply.tool_calls, finish_reason=reply.finish_reason
        ),
    )
