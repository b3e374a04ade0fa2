"""Asks models of all other providers through litellm. The only place that talks to litellm."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import anyio

from crm_assets.llm.failures import Failure
from crm_assets.llm.json_formats import JsonFormats, ResponseFormat
from crm_assets.llm.litellm_failures import failure_of_exception
from crm_assets.llm.messages import ChatRequest, Message, SentParameters
from crm_assets.llm.pricing import Price, price_of
from crm_assets.llm.replies import Completion, read_completion
from crm_assets.llm.spec import NO_KEY, ModelSpec, base_of, is_own_server, key_of, server_of

__all__ = ["LitellmBackend", "import_litellm"]

_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_MARGIN_SECONDS = 1.0
"""Seconds beyond the timeout, which litellm enforces, after which we cancel the call ourselves."""
_FIRST_MARGIN_SECONDS = 30.0
"""The same while litellm still loads what it needs for a provider."""
_CACHE_MARK = {"cache_control": {"type": "ephemeral"}}
"""Anthropic reads from its cache only what ends with such a mark."""


@dataclass
class _LitellmRoute:
    """The way to one model."""

    spec: ModelSpec
    server: str
    own_server: bool
    fixed: Mapping[str, Any]
    """Arguments of every call."""
    takes: frozenset[str]
    """Parameters of OpenAI's API that it takes."""
    formats: JsonFormats
    drop_params: bool = False
    """litellm is to leave out values that the model does not take; found out by trying."""


class LitellmBackend:
    """Calls models of all providers that litellm knows. Belongs to one event loop."""

    def __init__(self, environment: Mapping[str, str], redact: Callable[[str], str]) -> None:
        self._environment = environment
        self._redact = redact
        self._routes: dict[ModelSpec, _LitellmRoute] = {}
        self._openai_clients: dict[tuple[str, str | None], Any] = {}
        self._session: Any = None
        self._http: Any = None
        self._litellm_holds_clients = False
        self._loaded: set[str] = set()
        """Providers that have been called before."""

    async def send(self, request: ChatRequest, timeout_seconds: float) -> Completion:
        """Send a request, once, and wait for what comes, no longer than the timeout.

        Raises:
            ConfigError: the model's key is missing; the variable is named.
        """
        route = self._route(request.model)
        litellm = import_litellm()
        wanted = route.formats.wanted(request)
        arguments = {**route.fixed, "timeout": timeout_seconds, **_arguments(route, request, wanted)}
        margin = _MARGIN_SECONDS if route.spec.provider in self._loaded else _FIRST_MARGIN_SECONDS
        limit = timeout_seconds + margin
        completion: Completion | None = None
        try:
            with anyio.fail_after(limit):
                response = await _complete(litellm, route, arguments)
        except TimeoutError:
            completion = Completion(failure=Failure("timeout", f"no answer in {limit:g} s"))
        except Exception as error:  # all that litellm raises: the kind of failure is found from it
            completion = failure_of_exception(error, self._redact)
        else:
            completion = self._read(route, request, response)
        finally:
            self._loaded.add(route.spec.provider)
        if request.json_object:
            completion = route.formats.learn(wanted, completion)
        # Outside of the handler, so that nothing raised from here on holds on to litellm's exception.
        sent = SentParameters(
            temperature=None if route.drop_params else arguments.get("temperature"),
            max_output_tokens=arguments.get("max_tokens"),
            response_format=wanted,
        )
        reply = completion.reply and replace(completion.reply, sent=sent)
        return replace(completion, reply=reply, sent=sent, server=route.server)

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

    def _read(self, route: _LitellmRoute, request: ChatRequest, response: Any) -> Completion:
        hidden = getattr(response, "_hidden_params", None) or {}
        try:
            document = response.model_dump(warnings=False)
        except Exception as error:  # of a reply that it took apart wrongly, whatever it raises
            return Completion(failure=Failure("malformed", f"the reply is odd ({type(error).__name__})"))
        price_for = partial(_price, route)
        return read_completion(
            document, request, price_for, self._redact, worked_out=hidden.get("response_cost")
        )

    def _route(self, spec: ModelSpec) -> _LitellmRoute:
        route = self._routes.get(spec)
        if route is None:
            route = self._routes[spec] = self._make_route(spec)
        return route

    def _make_route(self, spec: ModelSpec) -> _LitellmRoute:
        key = key_of(spec, self._environment)
        litellm = import_litellm()
        base = base_of(spec, self._environment)
        fixed: dict[str, Any] = {
            "model": spec.name,
            "max_retries": 0,
            "num_retries": 0,
            **({"api_key": key} if key else {}),
            **({"api_base": base} if base else {}),
        }
        client = self._client(spec, key, base)
        if client is not None:
            fixed["client"] = client
        takes = litellm.get_supported_openai_params(model=spec.model, custom_llm_provider=spec.provider)
        return _LitellmRoute(
            spec=spec,
            server=server_of(spec, self._environment),
            own_server=is_own_server(spec, self._environment),
            fixed=fixed,
            takes=frozenset(takes or ()),
            # No schemas: litellm rewrites them by provider, and makes tools of them for some.
            formats=JsonFormats("json_object" if "response_format" in (takes or ()) else None),
        )

    def _client(self, spec: ModelSpec, key: str | None, base: str | None) -> Any:
        """Return an HTTP client that we can close: litellm's own live on in a cache of its own."""
        if spec.provider == "openai":
            return self._openai_client(key or NO_KEY, base)
        if spec.provider in ("gemini", "anthropic"):
            return self._http_client()
        self._litellm_holds_clients = True
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

            # No limit of its own: how many calls there are at a time is for the client to say.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
            )
            self._http = AsyncHTTPHandler(shared_session=self._session)
        return self._http


def import_litellm() -> ModuleType:
    """Return the module, kept from talking: to the network, the log, the terminal.

    It takes seconds the first time. Its loggers stay as they are where `LITELLM_LOG` is set.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches its price list
    import litellm  # noqa: PLC0415

    if not litellm.suppress_debug_info:
        litellm.suppress_debug_info = True
        litellm.telemetry = False
        if "LITELLM_LOG" not in os.environ:
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)
        # It warns of each odd reply as it passes it on, which the ledger tells, and of its own types.
        for message in ("Pydantic serializer warnings", ".*`ReadOnly` qualifier"):
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
    module: ModuleType = litellm
    return module


def _price(route: _LitellmRoute, answered: str | None) -> Price:
    return price_of(route.spec, own_server=route.own_server, answered=answered)


async def _complete(litellm: Any, route: _LitellmRoute, arguments: dict[str, Any]) -> Any:
    if route.drop_params:
        return await litellm.acompletion(**arguments, drop_params=True)
    try:
        return await litellm.acompletion(**arguments)
    except litellm.UnsupportedParamsError:
        # It refuses before it sends. Dropping is not on from the start because litellm, when told to,
        # sends what a server has refused (422) a second time by itself.
        route.drop_params = True
    return await litellm.acompletion(**arguments, drop_params=True)


def _arguments(route: _LitellmRoute, request: ChatRequest, wanted: ResponseFormat) -> dict[str, Any]:
    marked = route.spec.provider == "anthropic"
    arguments: dict[str, Any] = {
        "messages": [_message(message, marked=marked) for message in request.messages]
    }
    if request.effective_temperature is not None:
        arguments["temperature"] = request.effective_temperature
    if request.effective_max_output_tokens is not None:
        arguments["max_tokens"] = request.effective_max_output_tokens
    if wanted is not None:
        arguments["response_format"] = {"type": wanted}
    if request.tools:
        arguments.update(_tool_arguments(route, request, marked=marked))
    return arguments


def _message(message: Message, *, marked: bool) -> dict[str, Any]:
    document = message.document()
    if marked and message.role == "system":
        document["content"] = [{"type": "text", "text": message.content, **_CACHE_MARK}]
    return document


def _tool_arguments(route: _LitellmRoute, request: ChatRequest, *, marked: bool) -> dict[str, Any]:
    tools = [tool.document for tool in request.tools]
    if marked:
        tools[-1] = {**tools[-1], **_CACHE_MARK}
    arguments: dict[str, Any] = {"tools": tools, "tool_choice": request.tool_choice}
    one_call = request.tool_choice != "none" and not request.parallel_tool_calls
    if one_call and "parallel_tool_calls" in route.takes:
        arguments["parallel_tool_calls"] = False
    if route.spec.provider == "openai":
        # Straight into the body: litellm walks every schema of every call otherwise, looking for what
        # OpenAI does not take and ours do not have.
        return {"extra_body": arguments}
    return arguments
