"""Sends one request through litellm and says what came of it. The only place that talks to litellm."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import anyio

from crm_assets.llm.access import NO_KEY, address_of, base_of, key_of
from crm_assets.llm.dispatch import dispatch_on_the_spot
from crm_assets.llm.failures import Failure, failure_of
from crm_assets.llm.messages import ChatRequest
from crm_assets.llm.pricing import Price, price_of
from crm_assets.llm.quiet import import_litellm
from crm_assets.llm.replies import Completion, read_response
from crm_assets.llm.spec import ModelSpec

__all__ = ["Backend", "LitellmBackend", "without_logging"]

_MARGIN_SECONDS = 1.0
"""What a call gets beyond its timeout, which litellm watches over, before we cut it off ourselves."""

_FIRST_MARGIN_SECONDS = 30.0
"""The same while litellm still loads what it needs for a provider."""


@dataclass
class Route:
    """The way to one model."""

    spec: ModelSpec
    address: str
    """Provider and server: who shares limits."""
    price: Price
    fixed: Mapping[str, Any]
    """Arguments of every call."""
    takes: frozenset[str]
    """Parameters of OpenAI's API that it takes."""
    drop_params: bool = False
    """Whether litellm is to leave out values that the model does not take; found out by trying."""


class Backend(Protocol):
    """Sends requests, wherever litellm runs."""

    def check(self, spec: ModelSpec) -> None:
        """See whether a model can be asked, without asking it or anything else that takes time."""

    def price(self, spec: ModelSpec) -> Price:
        """What its calls cost."""

    def address(self, spec: ModelSpec) -> str:
        """Provider and server: who shares limits."""

    async def send(self, request: ChatRequest) -> Completion:
        """Send a request, once, and wait for what comes; never longer than the model's timeout."""

    async def aclose(self) -> None:
        """Close all connections."""


class LitellmBackend:
    """Calls models of all providers that litellm knows. Belongs to one event loop."""

    def __init__(self, environment: Mapping[str, str], redact: Callable[[str], str]) -> None:
        self._environment = environment
        self._redact = redact
        self._routes: dict[ModelSpec, Route] = {}
        self._openai_clients: dict[tuple[str, str | None], Any] = {}
        self._session: Any = None
        self._http: Any = None
        self._litellm_holds_clients = False
        self._loaded: set[str] = set()
        """Providers that have been called before."""

    def check(self, spec: ModelSpec) -> None:
        """See whether a model can be asked, without asking it or anything else that takes time.

        Raises:
            ConfigError: its key is missing; the variable is named.
        """
        key_of(spec, self._environment)

    def price(self, spec: ModelSpec) -> Price:
        """What its calls cost."""
        # A route holds connections, which only a running loop can have; runs ask for prices before it runs.
        route = self._routes.get(spec)
        return route.price if route else price_of(spec)

    def address(self, spec: ModelSpec) -> str:
        """Provider and server: who shares limits.

        Raises:
            ConfigError: its key is missing; the variable is named.
        """
        return self._route(spec).address

    def _route(self, spec: ModelSpec) -> Route:
        """The way to a model, made ready the first time."""
        route = self._routes.get(spec)
        if route is None:
            route = self._routes[spec] = self._make_route(spec)
        return route

    async def send(self, request: ChatRequest) -> Completion:
        """Send a request, once, and wait for what comes; never longer than the model's timeout.

        Raises:
            ConfigError: the model's key is missing; the variable is named.
        """
        route = self._route(request.model)
        litellm = import_litellm()
        dispatch_on_the_spot()
        arguments = {**route.fixed, **_arguments(route, request)}
        margin = _MARGIN_SECONDS if route.spec.provider in self._loaded else _FIRST_MARGIN_SECONDS
        limit = route.spec.timeout_seconds + margin
        try:
            with anyio.fail_after(limit), without_logging():
                response = await _complete(litellm, route, arguments)
        except TimeoutError:
            failure = Failure("timeout", f"no answer in {limit:g} s")
        except Exception as error:  # all that litellm raises: each kind of failure is told from it
            failure = failure_of(error, self._redact)
        else:
            return read_response(response, route.price)
        finally:
            self._loaded.add(route.spec.provider)
        # Outside of the handler, so that nothing raised from here on holds on to litellm's exception.
        return Completion(failure=failure)

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._openai_clients.values():
            await client.close()
        if self._http is not None:
            await self._http.close()
        if self._session is not None:
            await self._session.close()
        if self._litellm_holds_clients:
            litellm = import_litellm()
            await litellm.close_litellm_async_clients()
            litellm.in_memory_llm_clients_cache.flush_cache()  # it would hand closed ones out again
        self._openai_clients.clear()
        self._routes.clear()
        self._session = self._http = None

    def _make_route(self, spec: ModelSpec) -> Route:
        key = key_of(spec, self._environment)
        litellm = import_litellm()
        if spec.is_offline:
            importlib.import_module("crm_assets.offline_models").register_offline_provider()
        base = base_of(spec, self._environment)
        fixed: dict[str, Any] = {
            "model": spec.name,
            "timeout": spec.timeout_seconds,
            "max_retries": 0,
            "num_retries": 0,
            **({"api_key": key} if key else {}),
            **({"api_base": base} if base else {}),
        }
        client = self._client(spec, key, base)
        if client is not None:
            fixed["client"] = client
        return Route(
            spec=spec,
            address=address_of(spec, self._environment),
            price=price_of(spec),
            fixed=fixed,
            takes=frozenset(
                litellm.get_supported_openai_params(model=spec.model, custom_llm_provider=spec.provider)
                or ()
            ),
        )

    def _client(self, spec: ModelSpec, key: str | None, base: str | None) -> Any:
        """An HTTP client that we can close: litellm's own live on, unclosed, in a cache of its own."""
        if spec.provider == "openai":
            return self._openai_client(key or NO_KEY, base)
        if spec.provider in ("gemini", "anthropic"):
            return self._http_client()
        self._litellm_holds_clients = not spec.is_offline or self._litellm_holds_clients
        return None

    def _openai_client(self, key: str, base: str | None) -> Any:
        from openai import AsyncOpenAI  # noqa: PLC0415  (heavy)

        client = self._openai_clients.get((key, base))
        if client is None:
            client = AsyncOpenAI(
                api_key=key, base_url=base, max_retries=0, http_client=self._http_client().client
            )
            self._openai_clients[key, base] = client
        return client

    def _http_client(self) -> Any:
        if self._http is None:
            import aiohttp  # noqa: PLC0415  (heavy)
            from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler  # noqa: PLC0415

            # No limit of its own: how many calls there are at a time is ours to say.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
            )
            self._http = AsyncHTTPHandler(shared_session=self._session)
        return self._http


async def _complete(litellm: Any, route: Route, arguments: dict[str, Any]) -> Any:
    if route.drop_params:
        return await litellm.acompletion(**arguments, drop_params=True)
    try:
        return await litellm.acompletion(**arguments)
    except litellm.UnsupportedParamsError:
        # It refuses before it sends. Dropping is not on from the start because litellm, when told to,
        # sends what a server has refused (422) a second time by itself.
        route.drop_params = True
    return await litellm.acompletion(**arguments, drop_params=True)


def _arguments(route: Route, request: ChatRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {"messages": [message.document() for message in request.messages]}
    if request.effective_temperature is not None:
        arguments["temperature"] = request.effective_temperature
    if request.effective_max_output_tokens is not None:
        arguments["max_tokens"] = request.effective_max_output_tokens
    if request.json_object and "response_format" in route.takes:
        arguments["response_format"] = {"type": "json_object"}
    if request.tools:
        arguments.update(_tool_arguments(route, request))
    return arguments


def _tool_arguments(route: Route, request: ChatRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "tools": [tool.document for tool in request.tools],
        "tool_choice": request.tool_choice,
    }
    if "parallel_tool_calls" in route.takes and request.tool_choice != "none":
        arguments["parallel_tool_calls"] = False
    if route.spec.provider == "openai":
        # Straight into the body: litellm walks every schema of every call otherwise, looking for what
        # OpenAI does not take and ours do not have.
        return {"extra_body": arguments}
    return arguments


def without_logging() -> AbstractContextManager[Any]:
    """Keep litellm from queueing each reply for its log callbacks, of which there are none.

    It has no public switch for that; should this one go, calls work the same and take a little longer.
    """
    try:
        from litellm._internal_context import internal_sub_call  # noqa: PLC0415
    except ImportError:
        return nullcontext()
    return internal_sub_call()
