"""Speaks OpenAI's chat completions API over HTTP, to OpenAI and to every server that is compatible.

A body begins with the model and its tools, which are most of it and the same in every call; then come the
messages, of which a later call of a session repeats the earlier ones. So providers and servers can read the
beginning of a prompt from their cache.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import orjson

from crm_assets.llm.failures import Failure, failure_of_response
from crm_assets.llm.json_formats import JsonFormats
from crm_assets.llm.messages import ChatRequest, SentParameters
from crm_assets.llm.pricing import Price, price_of, takes_of
from crm_assets.llm.replies import Completion, read_completion
from crm_assets.llm.spec import ModelSpec, base_of, is_own_server, key_of, server_of

if TYPE_CHECKING:
    import aiohttp

__all__ = ["OpenAIBackend"]

_OPENAI = "https://api.openai.com/v1"
_CONNECT_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 4.0
"""Servers close idle connections after 5 s (uvicorn) or later; one that closes just then loses a call."""
_OK = 200
_ORGANIZATION = {"OPENAI_ORG_ID": "OpenAI-Organization", "OPENAI_PROJECT_ID": "OpenAI-Project"}


@dataclass
class _Route:
    """The way to one model, and what has been found out about it."""

    url: str
    server: str
    headers: Mapping[str, str]
    proxy: str | None
    own_server: bool
    refused: set[str] = field(default_factory=set)
    """Parameters that the server does not take."""
    max_tokens: str = "max_tokens"
    formats: JsonFormats = field(default_factory=lambda: JsonFormats("json_schema"))


class OpenAIBackend:
    """Asks OpenAI and compatible servers. Belongs to one event loop."""

    def __init__(self, environment: Mapping[str, str], redact: Callable[[str], str]) -> None:
        self._environment = environment
        self._redact = redact
        self._routes: dict[ModelSpec, _Route] = {}
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: ChatRequest, timeout_seconds: float) -> Completion:
        """Send a request, once, and wait for what comes, no longer than the timeout.

        Raises:
            ConfigError: the model's key is missing; the variable is named.
        """
        route = self._route(request.model)
        sent = _parameters(route, request)
        body = encode_body(route, request, sent)
        completion = await self._post(route, request, body, timeout_seconds)
        if request.json_object:
            completion = route.formats.learn(sent.response_format, completion)
        completion = _learn_parameter(route, request, completion)
        return _with(completion, sent, route.server)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
        self._session = None
        self._routes.clear()

    async def _post(
        self, route: _Route, request: ChatRequest, body: bytes, timeout_seconds: float
    ) -> Completion:
        import aiohttp  # noqa: PLC0415  (takes a while, and replays need none)

        timeout = _timeout(timeout_seconds)
        try:
            async with self._open_session().post(
                route.url, data=body, headers=route.headers, proxy=route.proxy, timeout=timeout
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            message = f"cannot connect to {route.server} ({self._redact(reason)})"
            return Completion.refused(Failure("connection", message, is_down=True))
        except asyncio.TimeoutError:
            return Completion(failure=Failure("timeout", f"no answer in {timeout_seconds:g} s"))
        except aiohttp.InvalidURL:
            message = f"{route.server} is not an address; correct api_base"
            return Completion.refused(Failure("rejected", message))
        except aiohttp.ClientError:
            return Completion(failure=Failure("connection", "the connection broke before the answer ended"))
        return self._read(route, request, response, raw)

    def _read(
        self, route: _Route, request: ChatRequest, response: aiohttp.ClientResponse, raw: bytes
    ) -> Completion:
        document = _decoded(raw)
        if response.status != _OK:
            headers = {name.lower(): value for name, value in response.headers.items()}
            body = raw.decode(errors="replace") if document is _NO_JSON else document
            return Completion.refused(failure_of_response(response.status, headers, body, self._redact))
        if document is _NO_JSON:
            return Completion(failure=Failure("unreadable", "the answer was no complete JSON document"))
        price_for = partial(_price, request.model, route.own_server)
        return read_completion(document, request, price_for, self._redact)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp  # noqa: PLC0415

            # No limit of its own: how many calls there are at a time is for the client to say.
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS, ttl_dns_cache=300
            )
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _route(self, spec: ModelSpec) -> _Route:
        route = self._routes.get(spec)
        if route is None:
            route = self._routes[spec] = self._make_route(spec)
        return route

    def _make_route(self, spec: ModelSpec) -> _Route:
        base, authorization = _authorization(
            base_of(spec, self._environment) or _OPENAI, key_of(spec, self._environment)
        )
        headers = {
            "Authorization": authorization,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        for variable, header in _ORGANIZATION.items():
            if value := self._environment.get(variable):
                headers[header] = value
        takes = takes_of(spec)
        refused = set() if takes.temperature else {"temperature"}
        if not takes.parallel_tool_calls:
            refused.add("parallel_tool_calls")
        return _Route(
            url=f"{base}/chat/completions",
            server=server_of(spec, self._environment),
            headers=headers,
            proxy=_proxy_for(base),
            own_server=is_own_server(spec, self._environment),
            refused=refused,
            max_tokens=takes.max_tokens,
        )


@lru_cache(maxsize=64)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    import aiohttp  # noqa: PLC0415

    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT_SECONDS, seconds))


def _price(spec: ModelSpec, own_server: bool, answered: str | None) -> Price:
    return price_of(spec, own_server=own_server, answered=answered)


def _authorization(base: str, key: str | None) -> tuple[str, str]:
    """Return the address without credentials, and the header: they go before the key, as in httpx."""
    parts = urlsplit(base.rstrip("/"))
    if not parts.username:
        return base.rstrip("/"), f"Bearer {key}"
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return plain, f"Basic {b64encode(pair.encode()).decode()}"


_NO_JSON = object()


def _decoded(raw: bytes) -> Any:
    """Return the JSON document; `_NO_JSON` if it is not JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:  # it takes half characters, which some models write
            return json.loads(raw)
        except ValueError:
            return _NO_JSON


def _proxy_for(base: str) -> str | None:
    """Return the proxy that the environment sets for an address."""
    parts = urlsplit(base)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _parameters(route: _Route, request: ChatRequest) -> SentParameters:
    """Return what is asked for, without what the server does not take."""
    return SentParameters(
        temperature=None if "temperature" in route.refused else request.effective_temperature,
        max_output_tokens=None
        if route.max_tokens in route.refused
        else request.effective_max_output_tokens,
        response_format=route.formats.wanted(request),
    )


def encode_body(route: _Route, request: ChatRequest, sent: SentParameters) -> bytes:
    """Return the body of a request."""
    parts = [b'{"model":', orjson.dumps(request.model.model.removeprefix("openai/"))]
    if request.tools:
        parts += [b',"tools":[', b",".join(tool.encoded for tool in request.tools), b"]"]
    parts += [b',"messages":[', b",".join(message.encoded for message in request.messages), b"]"]
    rest: dict[str, Any] = {}
    if sent.temperature is not None:
        rest["temperature"] = sent.temperature
    if sent.max_output_tokens is not None:
        rest[route.max_tokens] = sent.max_output_tokens
    if request.tools:
        rest["tool_choice"] = request.tool_choice
        if request.tool_choice != "none" and not request.parallel_tool_calls:
            rest["parallel_tool_calls"] = False
    if sent.response_format == "json_object":
        rest["response_format"] = {"type": "json_object"}
    elif sent.response_format == "json_schema":
        schema = {"name": "reply", "schema": request.json_schema}
        rest["response_format"] = {"type": "json_schema", "json_schema": schema}
    for name in route.refused:
        rest.pop(name, None)
    if rest:
        parts += [b",", orjson.dumps(rest)[1:-1]]
    return b"".join((*parts, b"}"))


def _learn_parameter(route: _Route, request: ChatRequest, completion: Completion) -> Completion:
    """Remember a parameter that the server says it does not take, and leave it out from here on."""
    failure = completion.failure
    if failure is None or failure.unsupported is None or failure.kind not in ("rejected", "unsupported"):
        return completion
    name = failure.unsupported.split(".")[0]
    if name == "max_tokens" and route.max_tokens == name:
        route.max_tokens = "max_completion_tokens"
    elif name in ("temperature", "parallel_tool_calls", "tool_choice") and name not in route.refused:
        route.refused.add(name)
    else:
        return completion
    return Completion.refused(Failure("unsupported", f"{failure.message}; asked again without {name}"))


def _with(completion: Completion, sent: SentParameters, server: str) -> Completion:
    return replace(completion, sent=sent, server=server)
