"""The way from the SDK's calls of litellm to the client: a provider of litellm's.

The SDK asks `litellm.acompletion` for the models of its configuration. Those are named
`crm_assets/<place>/<provider>/<model>`, and litellm hands calls for them to the handler here, which asks
the client on the account of the session that is running, in the role that the place has. So the SDK's calls
have the same limits, retries, budget and ledger as all others, and are counted by role; nothing of the
SDK or litellm is changed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from crm_assets.llm import ChatReply, Message, ModelSpec, Role

__all__ = ["PLACES", "PROVIDER", "Place", "model_name", "register_door"]

PROVIDER = "crm_assets"

Place = Literal["teacher", "judge", "arbiter", "learner", "probe"]
"""Where in the SDK's configuration a model stands."""

PLACES: Mapping[Place, Role] = {
    "teacher": "teacher",
    "judge": "judge",
    "arbiter": "judge",
    "learner": "learner",
    "probe": "probe",
}
"""In which role it is asked."""


def model_name(place: Place, spec: ModelSpec) -> str:
    """What the SDK calls a model: in which place it is asked, and which it is."""
    return f"{PROVIDER}/{place}/{spec.name}"


def register_door() -> None:
    """Make litellm know the provider; once is enough, more does no harm."""
    import litellm  # noqa: PLC0415  (takes seconds)
    from litellm.utils import custom_llm_setup  # noqa: PLC0415

    if any(entry["provider"] == PROVIDER for entry in litellm.custom_provider_map):
        return
    litellm.custom_provider_map.append({"provider": PROVIDER, "custom_handler": _handler()})
    custom_llm_setup()  # type: ignore[no-untyped-call]


def _handler() -> Any:
    from litellm.llms.custom_llm import CustomLLM  # noqa: PLC0415
    from litellm.types.utils import ModelResponse  # noqa: PLC0415

    from crm_assets.atlas.sdk.session import current_session  # noqa: PLC0415  (it imports this module)

    class Client(CustomLLM):
        """Hands litellm's calls to the client."""

        async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
            """Ask, on the account of the session that is running."""
            response: ModelResponse = kwargs["model_response"]
            place = kwargs["model"].partition("/")[0]
            temperature = (kwargs.get("optional_params") or {}).get("temperature")
            reply = await current_session().answer(place, _messages(kwargs["messages"]), temperature)
            _fill(response, kwargs["model"], reply)
            return response

    return Client()


def _messages(documents: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(Message(document["role"], document["content"]) for document in documents)


def _fill(response: Any, model: str, reply: ChatReply) -> None:
    from litellm.types.utils import Choices, Usage  # noqa: PLC0415
    from litellm.types.utils import Message as LitellmMessage  # noqa: PLC0415

    message = LitellmMessage(content=reply.content or "", role="assistant")
    response.choices = [Choices(index=0, finish_reason=reply.finish_reason, message=message)]
    response.model = model
    response.usage = Usage(
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        total_tokens=reply.usage.total_tokens,
    )
