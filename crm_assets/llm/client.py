"""Asks the models themselves: the only way that the rest of crm_assets has to one.

Each attempt is in the ledger before its reply is handed on, whatever comes of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import anyio

from crm_assets.concurrency import Turnstile, until_done
from crm_assets.errors import ConfigError
from crm_assets.llm.backends import Backends
from crm_assets.llm.booking import about_prompt_tokens, book
from crm_assets.llm.budget import Budget, BudgetKeeper
from crm_assets.llm.entries import CallError, LedgerEntry
from crm_assets.llm.failures import Failure, RetryPolicy, one_line
from crm_assets.llm.interface import Answer
from crm_assets.llm.json_replies import complaint_message
from crm_assets.llm.ledger import Ledger
from crm_assets.llm.limits import ProviderLimiter, ProviderLimits, Slot
from crm_assets.llm.messages import ChatRequest, Message
from crm_assets.llm.observations import Observations, Place
from crm_assets.llm.pricing import price_of
from crm_assets.llm.recording import Attempts, Call, RecordingModels
from crm_assets.llm.redaction import make_redactor
from crm_assets.llm.replies import Completion
from crm_assets.llm.request_log import RequestLog
from crm_assets.llm.spec import ModelSpec, is_own_server, key_of, server_of
from crm_assets.llm.spending import Charge, answers_by_model

__all__ = ["Activity", "ModelClient"]


@dataclass(frozen=True)
class Activity:
    """A client's current activity."""

    under_way: int = 0
    """Calls whose answer is awaited."""
    retries: int = 0
    """Attempts so far that another one followed."""
    trouble: str | None = None
    """The last error, until a call succeeds."""
    mixed: str | None = None
    """Models answered by more than one model or server."""
    stopping: bool = False
    """No call is made any more; the open ones are waited for."""

    @property
    def words(self) -> str:
        """The activity in a few words for a line of progress."""
        text = f"{self.under_way:,} open call{'' if self.under_way == 1 else 's'}"
        if self.stopping:
            text = f"stopping, waits for {text} (Ctrl-C again ends at once)"
        if self.retries:
            text += f", {self.retries:,} retried"
        if self.mixed is not None:
            text += f"; mixed: {self.mixed}"
        return text if self.trouble is None else f"{text}; last failure: {self.trouble}"


class ModelClient(RecordingModels):
    """Asks the models themselves, directly or through litellm.

    What an earlier start of the run has been answered is not asked again: the ledger's reply is the reply.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        ledger: Ledger | None = None,
        limits: Mapping[str, ProviderLimits] | None = None,
        budget: Budget | None = None,
        turns: Mapping[str, int] | None = None,
        retries: RetryPolicy | None = None,
        seed: int | None = None,
        requests: RequestLog | None = None,
    ) -> None:
        """Open the client; nothing is imported or connected before the first call.

        Args:
            environment: where keys are found (`database.read_environment`).
            ledger: where attempts are recorded; left out, only sums are kept.
            limits: by provider.
            budget: of the whole run.
            turns: of each session, by its key in the ledger; estimates of what a session costs use it.
            retries: how often and how soon failed calls are made again.
            seed: of the waits' jitter.
            requests: where requests are recorded; left out, they are not.
        """
        super().__init__(ledger, retries or RetryPolicy())
        self._environment = environment
        self._redact = make_redactor(environment)
        self._requests = requests
        self._backends = Backends(environment, self._redact)
        self._limits = dict(limits or {})
        self._limiters: dict[tuple[str, str], ProviderLimiter] = {}
        self._places: dict[ModelSpec, Place] = {}
        self._budget = BudgetKeeper(budget or Budget(), self.ledger, turns or {})
        self._dice = random.Random(seed)  # noqa: S311  (jitter, no secret)
        self._under_way = self._retried = 0
        self._open: set[asyncio.Future[None]] = set()
        """One for each call under way; done once it is booked."""
        self._stopping = False
        self._turnstile = Turnstile()
        self._seen = Observations(
            answers_by_model([self.ledger.total()]), needs_usage=self._budget.budget.is_set
        )

    @property
    def activity(self) -> Activity:
        """Current activity."""
        trouble, mixed = self._seen.trouble, self._seen.mixed
        return Activity(self._under_way, self._retried, trouble, mixed, self._stopping)

    @property
    def progress(self) -> str:
        """Return what is under way with the servers, in words for a line of progress."""
        return self.activity.words

    def require(self, specs: Iterable[ModelSpec]) -> None:
        """Check, before anything is spent, that models can be asked.

        Raises:
            ConfigError: a key is missing, or a budget in dollars meets a model of unknown price.
        """
        for spec in specs:
            key_of(spec, self._environment)
            self._require_price(spec)

    def noted(self, session: str, kind: str) -> dict[str, Any] | None:
        """Return what a session started from in an earlier start of the run; None if it never started."""
        return self.ledger.noted(session, kind)

    def stop(self) -> None:
        """Let callers that are cancelled from now on wait for the answers they have asked for."""
        self._stopping = True

    async def aclose(self) -> None:
        """Close all connections; the ledger stays open. After `stop`, open calls are booked first."""
        if self._stopping and self._open:
            await asyncio.wait(set(self._open))  # of callers that whoever started them no longer waits for
        await self._backends.aclose()

    @asynccontextmanager
    async def session(self, key: str) -> AsyncIterator[None]:
        """Enter a session once the budget suffices for it (see `RecordingModels.session`).

        Raises:
            BudgetExhausted: it does not.
        """
        async with super().session(key), self._budget.session(key):
            try:
                yield
            finally:
                if self._requests is not None:
                    self._requests.forget(key)

    def _recorded(self, call: Call) -> Iterable[LedgerEntry]:
        for entry in self.ledger.earlier_attempts(call.caller.session, call.key):
            self._budget.remember(call.caller, call.request, entry.counted)
            yield entry

    async def _go_on(self, call: Call, attempts: Attempts) -> Answer:
        attempts.start_afresh()
        outage = self._limiter(call.request.model).outage
        while True:
            if (error := attempts.verdict()) is not None and not outage.may_end:
                raise self._remember(call.request.model, error)
            was_away = outage.may_end
            entry, at_once = await self._attempt(call, attempts)
            if answer := attempts.add(entry):
                await self._turnstile.pass_through()
                return answer
            if was_away and not outage.is_on:
                attempts.forgive_outage()
            self._retried += 1
            if not at_once and attempts.verdict() is None:
                await anyio.sleep(self._retries.delay_seconds(attempts.failures_in_transport, self._dice))

    async def _attempt(self, call: Call, attempts: Attempts) -> tuple[LedgerEntry, bool]:
        """Make one attempt within the budget; its entry, and whether another one may follow at once."""
        spec, request = call.request.model, _corrected(call.request, attempts)
        limiter = self._limiter(spec)
        self._seen.require_usable(request)
        self._require_price(spec)
        reserved = await self._budget.reserve(call.caller, request, self._place(spec).price)
        took: Charge | None = None
        try:
            async with limiter.slot(about_prompt_tokens(request) if limiter.counts_tokens else 0) as slot:
                self._seen.require_usable(request)
                with self._booking():
                    completion, entry = await self._send(call, request, len(attempts) + 1)
                took, failure = entry.counted, completion.failure
                _report(limiter, slot, completion, entry, self._asked_wait(failure))
        finally:
            self._budget.release(reserved, took)
        self._seen.look_at(request, completion, entry, self._place(spec))
        at_once = failure is None or failure.kind in ("malformed", "unsupported") or limiter.outage.may_end
        return entry, at_once

    async def _send(self, call: Call, request: ChatRequest, number: int) -> tuple[Completion, LedgerEntry]:
        if self._requests is not None and number == 1:  # later attempts ask the same, or add a complaint
            self._requests.record(call.caller, request, call.ordinal)
        started_at, started, seconds = datetime.now(timezone.utc), time.perf_counter(), 0.0
        place = self._place(request.model)

        async def send(timeout: float) -> Completion:
            try:
                return await self._backends.of(request.model).send(request, timeout)
            finally:
                nonlocal seconds
                seconds = time.perf_counter() - started

        def record(completion: Completion, error: CallError | None) -> LedgerEntry:
            entry = book(
                call,
                number,
                completion,
                error,
                started_at=started_at.isoformat(timespec="milliseconds"),
                latency_seconds=round(seconds, 6),
                sent=request,
                price=place.price,
            )
            self.ledger.append(entry)
            return entry

        timeout, cancelled = self._seen.timeout_seconds(request.model), None
        sending = asyncio.ensure_future(send(timeout))
        self._under_way += 1
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError as error:
            cancelled = error
            if not self._stopping:
                sending.cancel()
            await until_done(sending)
        finally:
            self._under_way -= 1
        if sending.cancelled():
            unawaited = CallError(kind="cancelled", message="the caller did not wait for it")
            record(Completion(server=place.server), unawaited)
            raise cancelled or asyncio.CancelledError
        completion = sending.result()
        entry = record(completion, self._error(call, completion))
        if cancelled is not None:
            raise cancelled
        return completion, entry

    @contextmanager
    def _booking(self) -> Iterator[None]:
        """Let `aclose` wait for the block."""
        booked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.add(booked)
        try:
            yield
        finally:
            self._open.discard(booked)
            booked.set_result(None)

    def _error(self, call: Call, completion: Completion) -> CallError | None:
        if completion.failure is not None:
            return CallError(kind=completion.failure.kind, message=completion.failure.message)
        reply = completion.reply
        complaint = call.check(reply) if call.check and reply else None
        if complaint is None or reply is None:
            return None
        if reply.finish_reason == "length":
            most = call.request.effective_max_output_tokens
            message = f"cut off at max_output_tokens ({most or 'the default of the server'}); raise it"
            return CallError(kind="length", message=message)
        return CallError(kind="malformed", message=one_line(complaint, self._redact))

    def _asked_wait(self, failure: Failure | None) -> float | None:
        """Seconds that the provider asks all callers to wait, bounded."""
        if failure is None or failure.retry_after_seconds is None:
            return None
        return min(failure.retry_after_seconds, self._retries.longest_seconds)

    def _place(self, spec: ModelSpec) -> Place:
        place = self._places.get(spec)
        if place is None:
            own = is_own_server(spec, self._environment)
            server = server_of(spec, self._environment)
            place = self._places[spec] = Place(server, own, price_of(spec, own_server=own))
        return place

    def _limiter(self, spec: ModelSpec) -> ProviderLimiter:
        place = self._place(spec)
        key = (spec.provider, place.server)
        limiter = self._limiters.get(key)
        if limiter is None:
            key_of(spec, self._environment)  # a missing key is said before any waiting
            limiter = self._limiters[key] = ProviderLimiter(
                self._limits.get(spec.provider, ProviderLimits()),
                self._dice,
                own_server=place.own_server,
                policy=self._retries,
            )
        return limiter

    def _require_price(self, spec: ModelSpec) -> None:
        if self._budget.budget.usd is not None and not self._place(spec).price.known:
            raise ConfigError(
                f"The price of {spec.name} is not known, so a budget in dollars cannot be kept; give its "
                "usd_per_million_prompt_tokens and usd_per_million_completion_tokens in the configuration "
                "(0 for a server of your own), or use a budget in tokens."
            )

    def _remember(self, spec: ModelSpec, error: Exception) -> Exception:
        """Keep others from knocking where one was turned away for good."""
        if isinstance(error, ConfigError):
            self._seen.refuse(spec, error)
        return error


def _report(
    limiter: ProviderLimiter,
    slot: Slot,
    completion: Completion,
    entry: LedgerEntry,
    wait_seconds: float | None,
) -> None:
    """Tell the limiter how an attempt went."""
    failure, usage = completion.failure, completion.usage
    down = failure is not None and failure.is_down
    loading = down and failure is not None and failure.status is not None
    limiter.outage.report(is_down=down, is_loading=loading)
    limiter.report(
        slot,
        tokens=usage.total_tokens if usage else slot.tokens,
        failure=failure.kind if failure else None,
        wait_seconds=wait_seconds,
        seconds=entry.latency_seconds,
        completion_tokens=usage.completion_tokens if usage else 0,
    )


def _corrected(request: ChatRequest, attempts: Attempts) -> ChatRequest:
    """Return the request; after a malformed JSON reply, with that reply and what was wrong with it."""
    if not request.json_object or attempts.complaint is None:
        return request
    reply, complaint = attempts.complaint
    said = Message("assistant", reply.content or "(nothing)")
    return replace(request, messages=(*request.messages, said, complaint_message(complaint)))
