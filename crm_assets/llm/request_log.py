"""Records what models are asked, beside the ledger (see `request_lines`), before they are asked it.

While the run goes on the lines are appended as they are; at its end they are compressed, which costs a
fraction then of what it costs between calls.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from crm_assets.errors import InfrastructureError
from crm_assets.llm.interface import Caller, Role
from crm_assets.llm.messages import ChatRequest, FunctionTool, Message
from crm_assets.llm.request_lines import DIGITS, SCHEMA_VERSION, in_common
from crm_assets.workspace.compressed_lines import lines_before_packing, pack_lines
from crm_assets.workspace.jsonl import open_locked, read_lines, write_lines

__all__ = ["RequestLog"]

_SESSIONS_AT_A_TIME = 4096


class RequestLog:
    """Appends what models are asked to a file."""

    def __init__(self, path: Path, redact: Callable[[str], str]) -> None:
        """Open the file, behind what earlier starts of the run wrote.

        Args:
            path: the file.
            redact: removes secrets from a text.

        Raises:
            InputError: another process writes it.
            InfrastructureError: the disk refused.
        """
        self._path = path
        self._lines = lines_before_packing(path)
        self._redact = redact
        self._shared: set[tuple[Role, str]] = set()
        """Role and hash of what this start has written."""
        self._settings_known: dict[tuple[Role, tuple[object, ...]], str] = {}
        self._tools: tuple[tuple[FunctionTool, ...], tuple[str, ...]] = (), ()
        """Those of the last request that had some, and their hashes."""
        self._last: OrderedDict[str, dict[Role, tuple[Message, ...]]] = OrderedDict()
        """By session and role: the messages of the previous call."""
        try:
            self._handle = open_locked(self._lines)
            whole = (line.offset + len(line.data) for line in read_lines(self._lines) if not line.is_torn)
            self._handle.truncate(max(whole, default=0))
        except OSError as error:
            raise self._disk(error) from error

    def __enter__(self) -> RequestLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Compress what was recorded; nothing can be recorded any more.

        Raises:
            InfrastructureError: the disk refused; the next start of the run compresses it.
        """
        try:
            with self._handle:
                if self._lines.stat().st_size:
                    pack_lines(self._lines, self._path)
                self._lines.unlink()
        except OSError as error:
            raise self._disk(error) from error

    def record(self, caller: Caller, request: ChatRequest, ordinal: int) -> None:
        """Write what is about to be asked.

        Raises:
            InfrastructureError: the disk refused.
        """
        role, lines = caller.role, list[bytes]()
        before = self._before(caller)
        keep = in_common(before.get(role, ()), request.messages)
        line = {
            "kind": "request",
            "schema_version": SCHEMA_VERSION,
            "role": role,
            "session": caller.session,
            "request_sha256": request.sha256[:DIGITS],
            "ordinal": ordinal,
            "settings": self._settings(role, request, lines),
            "keep": keep,
            "messages": [self._message(role, message, lines) for message in request.messages[keep:]],
        }
        lines.append(_dump(line))
        try:
            write_lines(self._handle, lines)
        except (OSError, ValueError) as error:  # ValueError: it is closed
            self._shared.clear()
            before.pop(role, None)
            raise self._disk(error) from error
        before[role] = request.messages

    def forget(self, session: str) -> None:
        """Let go of a session that has ended."""
        self._last.pop(session, None)

    def _before(self, caller: Caller) -> dict[Role, tuple[Message, ...]]:
        before = self._last.setdefault(caller.session, {})
        self._last.move_to_end(caller.session)
        if len(self._last) > _SESSIONS_AT_A_TIME:
            self._last.popitem(last=False)
        return before

    def _settings(self, role: Role, request: ChatRequest, lines: list[bytes]) -> str:
        facts = {
            "model": request.model.name,
            "tools": self._hashes(request.tools),
            "tool_choice": request.tool_choice if request.tools else None,
            "parallel_tool_calls": request.parallel_tool_calls and bool(request.tools),
            "temperature": request.effective_temperature,
            "max_output_tokens": request.effective_max_output_tokens,
            "json_object": request.json_object,
        }
        key = (role, tuple(facts.values()))
        known = self._settings_known.get(key)
        if known is not None and (role, known) in self._shared:
            return known
        for tool in request.tools:
            if (role, tool.sha256) not in self._shared:
                self._share(role, tool.sha256, lines, kind="tool", document=tool.document)
        sha256 = self._settings_known[key] = hashlib.sha256(orjson.dumps(facts)).hexdigest()
        self._share(role, sha256, lines, kind="settings", **facts)
        return sha256

    def _hashes(self, tools: tuple[FunctionTool, ...]) -> tuple[str, ...]:
        if tools and tools is not self._tools[0]:
            self._tools = tools, tuple(tool.sha256 for tool in tools)
        return self._tools[1] if tools else ()

    def _message(self, role: Role, message: Message, lines: list[bytes]) -> dict[str, Any]:
        if message.role != "system" or message.content is None:
            document = message.document()
            text = "\n".join((message.content or "", *(call.arguments for call in message.tool_calls)))
            plain = message.state is None and all(call.state is None for call in message.tool_calls)
            if plain and self._redact(text) == text:  # almost always, and one look is cheaper than many
                return document
            redacted: dict[str, Any] = _redacted(document, self._redact)
            return redacted
        sha256 = hashlib.sha256(message.content.encode()).hexdigest()
        if (role, sha256) not in self._shared:
            self._share(role, sha256, lines, kind="prompt", content=self._redact(message.content))
        return {**message.document(), "content": {"sha256": sha256}}

    def _share(self, role: Role, sha256: str, lines: list[bytes], **content: Any) -> None:
        """Add a line that later ones name by its hash."""
        lines.append(_dump({"schema_version": SCHEMA_VERSION, "role": role, "sha256": sha256, **content}))
        self._shared.add((role, sha256))

    def _disk(self, error: OSError | ValueError) -> InfrastructureError:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        return InfrastructureError(f"Could not write {self._path}: {reason}; what is finished is kept.")


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _redacted(inner, redact) for name, inner in value.items()}
    return [_redacted(inner, redact) for inner in value] if isinstance(value, list | tuple) else value


def _dump(line: Mapping[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
