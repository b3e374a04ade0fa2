"""A litellm provider that passes the SDK's calls to the model client.

The SDK calls `litellm.acompletion` for the models of its configuration, which are named
`crm_assets/<place>/<provider>/<model>`. litellm passes calls of these to the handler here, which calls the
client for the running session, in the place's role. So the SDK's calls have the same limits, retries,
budget and ledger as all others, and are counted by role. Neither the SDK nor litellm is patched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crm_assets.atlas.sdk.package import SdkMapping
from crm_assets.atlas.sdk.places import PROVIDER
from crm_assets.atlas.sdk.session import current_session
from crm_assets.llm import ChatReply, Message

__all__ = ["register_client"]


def register_client() -> None:
    """Register the provider with litellm. Idempotent."""
    import litellm  # noqa: PLC0415  (takes seconds)
    from litellm.utils import custom_llm_setup  # noqa: PLC0415

    if any(entry["provider"] == PROVIDER for entry in litellm.custom_provider_map):
        return
    litellm.custom_provider_map.append({"provider": PROVIDER, "custom_handler": _handler()})
    custom_llm_setup()  # type: ignore[no-untyped-call]


def _handler() -> Any:
    from litellm.llms.custom_llm import CustomLLM  # noqa: PLC0415
    from litellm.types.utils import ModelResponse  # noqa: PLC0415

    class Client(CustomLLM):
        """Passes litellm's calls to the client."""

        async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
            """Call the client for the running session."""
            response: ModelResponse = kwargs["model_response"]
            place = kwargs["model"].partition("/")[0]
            temperature = (kwargs.get("optional_params") or {}).get("temperature")
            reply = await current_session().answer(place, _messages(kwargs["messages"]), temperature)
            _fill(response, kwargs["model"], reply)
            return response

    return Client()


def _messages(documents: Sequence[SdkMapping]) -> tuple[Message, ...]:
    return tuple(Message(document["role"], document["content"]) for document in documents)


def _fill(response: Any, model: str, reply: ChatReply) -> None:
    from litellm.types.utils import Choices, Usage  # noqa: PLC0415
    from litellm.types.utils import Message as LitellmMessage  # noqa: PLC0415

    message = LitellmMessage(content=reply.content or "", role="assistant")
    response.choices = [Choices(index=0, finish_reason=reply.finish_reason, message=message)]
    response.model = model
    if reply.usage is not None:
        response.usage = Usage(
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
            total_tokens=reply.usage.total_tokens,
        )
