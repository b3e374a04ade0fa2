"""The offline models without litellm or HTTP between: the `Models` protocol over `answer`."""

from __future__ import annotations

from collections.abc import Mapping

from crm_assets.llm import Answer, Caller, ChatRequest, MalformedReply, ReplyCheck, Role, Spending
from crm_assets.offline_models import OfflineRequest, answer

__all__ = ["DirectModels"]


class DirectModels:
    """Asks the offline models; what they say never gets better, so it is asked for once."""

    def __init__(self) -> None:
        self.asked: list[tuple[Caller, ChatRequest]] = []

    async def complete(
        self, caller: Caller, request: ChatRequest, *, check: ReplyCheck | None = None
    ) -> Answer:
        self.asked.append((caller, request))
        question = OfflineRequest(
            request.messages,
            tuple(tool.document for tool in request.tools),
            request.tool_choice,
            request.effective_temperature or 0.0,
        )
        reply = answer(request.model.name, question)
        spending = Spending(calls=1, usage=reply.usage)
        complaint = check(reply) if check else None
        if complaint is not None:
            raise MalformedReply(complaint, reply=reply, spending=spending)
        return Answer(reply, spending)

    def spent(self, session: str) -> Mapping[Role, Spending]:
        return {}
