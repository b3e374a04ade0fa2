"""What the models were asked in one session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from crm_assets.engine import ledger_key
from crm_assets.errors import InputError
from crm_assets.llm import Role
from crm_assets.llm.request_lines import RecordedRequest, in_common, read_requests
from crm_assets.records import LoopSession
from crm_assets.reporting.document import Block, Section, Table
from crm_assets.reporting.formats import counted, plain
from crm_assets.workspace.baseline_files import BaselinePaths

__all__ = ["request_blocks", "request_document", "requests_of"]


def requests_of(paths: BaselinePaths, session: LoopSession, role: Role | None) -> list[RecordedRequest]:
    """Return what the models were asked in a session, in order.

    Args:
        paths: of its run.
        session: that session.
        role: whose requests; all if None.

    Raises:
        InputError: the run did not record its requests, or there is none of the role.
    """
    if not paths.requests.is_file():
        raise InputError(
            f"Run {paths.key.run} recorded no requests: it asked no model itself, or was made by an older "
            "version."
        )
    key = ledger_key(session.conversation_id, session.epoch)
    found = [each for each in read_requests(paths.requests, {key}) if role in (None, each.role)]
    if not found:
        whom = f"the {role.replace('_', ' ')}" if role else "a model"
        raise InputError(f"Nothing was asked of {whom} in this session.")
    return found


def request_document(request: RecordedRequest) -> dict[str, Any]:
    """Return a request as JSON has it."""
    settings = request.settings.model_dump(exclude={"schema_version", "kind", "role", "sha256", "tools"})
    return {
        "role": request.role,
        "ordinal": request.ordinal,
        "request_sha256": request.request_sha256,
        **settings,
        "messages": request.messages,
        "tools": request.tools,
    }


def request_blocks(requests: list[RecordedRequest]) -> Iterator[Block]:
    """Yield what a terminal shows: of each request the messages that are new since the one before."""
    before: dict[Role, tuple[Mapping[str, Any], ...]] = {}
    for number, request in enumerate(requests, 1):
        alike = in_common(before.get(request.role, ()), request.messages)
        before[request.role] = request.messages
        rows = [("asked", _settings(request))]
        if alike:
            rows.append(("", f"{counted(alike, 'message')} as before, and"))
        rows += [(str(message["role"]), _message(message)) for message in request.messages[alike:]]
        title = f"Request {number} of {len(requests)}: {request.role.replace('_', ' ')}"
        yield Section(title, (Table.pairs(rows),))


def _settings(request: RecordedRequest) -> str:
    settings = request.settings
    said = [settings.model]
    if request.tools:
        said.append(counted(len(request.tools), "tool"))
    if settings.temperature is not None:
        said.append(f"temperature {settings.temperature:g}")
    if request.ordinal > 1:
        said.append(f"asked {request.ordinal} times")
    return plain(", ".join(said))


def _message(message: Mapping[str, Any]) -> str:
    lines = [plain(line) for line in str(message["content"] or "").splitlines()]
    lines += [
        plain(f"calls {call['function']['name']} {call['function']['arguments']}")
        for call in message.get("tool_calls", ())
    ]
    return "\n".join(lines) or orjson.dumps(message).decode()
