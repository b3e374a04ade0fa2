"""The offline models as a provider of litellm: `offline/student` and the others."""

from __future__ import annotations

from typing import Any

from crm_assets.llm.messages import ChatReply
from crm_assets.llm.spec import OFFLINE_PROVIDER
from crm_assets.offline_models.dispatch import answer
from crm_assets.offline_models.requests import request_of

__all__ = ["register_offline_provider"]


def register_offline_provider() -> None:
    """Register the provider `offline` with litellm; repeated calls have no effect."""
    import litellm  # noqa: PLC0415  (takes seconds)
    from litellm.utils import custom_llm_setup  # noqa: PLC0415

    if any(entry["provider"] == OFFLINE_PROVIDER for entry in litellm.custom_provider_map):
        return
    litellm.custom_provider_map.append({"provider": OFFLINE_PROVIDER, "custom_handler": _handler()})
    custom_llm_setup()  # type: ignore[no-untyped-call]


def _handler() -> Any:
    from litellm.llms.custom_llm import CustomLLM  # noqa: PLC0415
    from litellm.types.utils import ModelResponse  # noqa: PLC0415

    class OfflineProvider(CustomLLM):
        """Passes litellm's calls to the offline models."""

        async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
            """Answer at once, without awaiting anything."""
            return self.completion(*args, **kwargs)

        def completion(self, *args: Any, **kwargs: Any) -> ModelResponse:
            """Answer."""
            body = {**(kwargs.get("optional_params") or {}), "messages": kwargs["messages"]}
            response: ModelResponse = kwargs["model_response"]
            _fill(response, kwargs["model"], answer(kwargs["model"], request_of(body)))
            return response

    return OfflineProvider()


def _fill(response: Any, model: str, reply: ChatReply) -> None:
    from litellm.types.utils import (  # noqa: PLC0415
        ChatCompletionMessageToolCall,
        Choices,
        Function,
        Message,
        Usage,
    )

    calls = [
        ChatCompletionMessageToolCall(
            id=call.id, type="function", function=Function(name=call.name, arguments=call.arguments)
        )
        for call in reply.tool_calls
    ]
    message = Message(content=reply.content, role="assistant", tool_calls=calls or None)
    response.choices = [Choices(index=0, finish_reason=reply.finish_reason, message=message)]
    response.model = model
    response.usage = Usage(
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        total_tokens=reply.usage.total_tokens,
    )
