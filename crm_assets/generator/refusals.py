"""Turns that the CRM must refuse: one typed case for each kind of bad request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crm_assets.generator import bad_calls
from crm_assets.generator.bad_calls import BadCall
from crm_assets.generator.conversation_builder import ConversationBuilder

__all__ = ["REFUSALS"]

_UPLOAD = (
    'Upload the file "{file_name}" to {label}.',
    'Attach "{file_name}" to {label}, under exactly that name.',
    'Please store "{file_name}" with {label}.',
)


@dataclass(frozen=True)
class Refusal:
    """One kind of bad request, as a turn template."""

    category: str
    error: str
    """A part of the CRM's message; `{field}` is the field in question."""
    draw: Callable[[ConversationBuilder], BadCall | None]
    """Makes up the call, after adding the turns that it needs; None where the state offers none."""
    phrases: tuple[str, ...]
    """Ways to ask for it; a single one takes no choice."""

    def __call__(self, builder: ConversationBuilder) -> None:
        """Add the turn that must fail, and before it the turns that it needs."""
        call = self.draw(builder)
        if call is None:
            return _UNKNOWN_ID(builder)
        values = {**call.args, **call.words}
        if len(self.phrases) == 1:
            utterance = self.phrases[0].format(**values)
        else:
            utterance = builder.phrase(self.phrases, **values)
        args = {**call.args, **(builder.spelled(call.tool, call.changes) if call.changes else {})}
        failure = (self.category, self.error.format(**values))
        return builder.play(call.tool, args, utterance, failure=failure)


_UNKNOWN_ID = Refusal("unknown_id", "not found with ID", bad_calls.unknown_id, ("{request}",))

REFUSALS = (
    Refusal(
        "amount_not_positive",
        "must be greater than zero",
        bad_calls.worthless_quote,
        (
            "Create a Draft quote for {label} with the amount {amount}.",
            "I want a quote on {label} over exactly {amount}, status Draft.",
            "Quote {label} at {amount} and keep the quote in Draft.",
        ),
    ),
    Refusal(
        "unsupported_file_type",
        "extension '.exe' is not supported",
        bad_calls.upload(bad_calls.UNSUPPORTED_FILES),
        _UPLOAD,
    ),
    _UNKNOWN_ID,
    Refusal(
        "invalid_enum",
        "{field} must be one of",
        bad_calls.unknown_choice,
        (
            'Set the {field} of {label} to "{value}".',
            'Change {label} to the {field} "{value}", worded exactly like that.',
            'Please give {label} the {field} "{value}".',
        ),
    ),
    Refusal(
        "closed_opportunity",
        "closed opportunity",
        bad_calls.closed_deal,
        (
            "Set the {field} of {label} to {value} after all.",
            "Change {label}: {field} {value}, even though it is closed.",
            "I know it is closed, but give {label} the {field} {value}.",
        ),
    ),
    Refusal(
        "duplicate_email",
        "already exists with email",
        bad_calls.duplicate_client,
        (
            "Create a client called {name} with the email {email} and status {status}.",
            "Add {name} as a new client. Email {email}, status {status}.",
            "Set up {name} as a client too; they share the email {email}, and their status is {status}.",
        ),
    ),
    Refusal(
        "unknown_field",
        "has no field named",
        bad_calls.unknown_field,
        (
            "Update {label} and set the field '{field}' to \"{value}\".",
            "On {label}, fill in the field '{field}' with \"{value}\".",
            "Please write \"{value}\" into the '{field}' field of {label}.",
        ),
    ),
    Refusal("past_close_date", "must be today or later", bad_calls.past_deal, bad_calls.NEW_DEAL),
    Refusal(
        "probability_out_of_range",
        "must be a whole number from 1 to 99",
        bad_calls.improbable_deal,
        (
            "Set the probability of {label} to {value}.",
            "Put {label} at a probability of {value} percent.",
            "Update {label}: probability {value}%.",
        ),
    ),
    Refusal(
        "unknown_argument",
        "has no argument named",
        bad_calls.unknown_argument,
        (
            'Add a note to {label}: "{content}" and pass {name}="{value}" along with it.',
            'Note on {label}: "{content}" The note also needs the argument {name} with "{value}".',
        ),
    ),
    Refusal("amount_too_large", "must not exceed 10,000,000", bad_calls.oversized_deal, bad_calls.NEW_DEAL),
    Refusal(
        "blank_name",
        "name must not be blank",
        bad_calls.nameless_client,
        (
            "Create a client with email {email} and status {status}, and leave its name blank.",
            "Add a client whose name is blank; email {email}, status {status}.",
            "Register a client without any name: blank name, email {email}, status {status}.",
        ),
    ),
    Refusal(
        "unknown_id",
        "not found with ID",
        bad_calls.unknown_client,
        (
            "Add {first_name} {last_name} as a contact of the client {client_id}.",
            "Create a contact named {first_name} {last_name} for client {client_id}.",
        ),
    ),
    Refusal(
        "bad_email",
        "must be a valid email address",
        bad_calls.unreachable_client,
        (
            'Add {name} as a {status} client and enter "{email}" as the email, exactly like that.',
            'Create the client {name}, status {status}. Their email field should read "{email}".',
        ),
    ),
    Refusal(
        "invalid_file_name", "file name may only hold", bad_calls.upload(bad_calls.BAD_FILE_NAMES), _UPLOAD
    ),
    Refusal("invalid_date", "valid ISO-8601 date", bad_calls.impossible_deal, bad_calls.NEW_DEAL),
)
"""Every kind of bad request, in the rotation that datasets depend on."""
