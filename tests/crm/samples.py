"""A small CRM to call tools on, and how calls are expected to fail."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from crm_assets.conversations import Conversation
from crm_assets.crm import Rows, Session, ToolError

TODAY = date(2024, 6, 1)

CLIENT_A = "00000000-0000-4000-8000-0000000000a1"
CLIENT_B = "00000000-0000-4000-8000-0000000000a2"
CONTACT_A = "00000000-0000-4000-8000-0000000000b1"
OPPORTUNITY_A = "00000000-0000-4000-8000-0000000000c1"
OPPORTUNITY_B = "00000000-0000-4000-8000-0000000000c2"
QUOTE_A = "00000000-0000-4000-8000-0000000000d1"
QUOTE_B = "00000000-0000-4000-8000-0000000000d2"
CONTRACT_A = "00000000-0000-4000-8000-0000000000e1"
COMPANY_A = "00000000-0000-4000-8000-0000000000f1"
DOCUMENT_A = "00000000-0000-4000-8000-000000000011"
NOTE_A = "00000000-0000-4000-8000-000000000021"
NOBODY = "00000000-0000-4000-8000-00000000dead"

SEED_DATA: dict[str, dict[str, dict[str, Any]]] = {
    "Client": {
        CLIENT_A: {
            "name": "Acme Corp",
            "email": "info@acme.example",
            "status": "Active",
            "industry": "Retail",
            "owner": "Ann",
        },
        CLIENT_B: {"name": "Globex", "email": "Sales@Globex.example", "status": "Prospect"},
    },
    "Contact": {CONTACT_A: {"first_name": "Jo", "last_name": "Doe", "client_id": CLIENT_A, "title": "CEO"}},
    "Opportunity": {
        OPPORTUNITY_A: {
            "client_id": CLIENT_A,
            "name": "Renewal",
            "stage": "Proposal",
            "amount": 1000.5,
            "close_date": "2024-12-31",
            "owner": "Ann",
            "probability": 40,
        },
        OPPORTUNITY_B: {
            "client_id": CLIENT_B,
            "name": "Upsell 100%",
            "stage": "Negotiation",
            "amount": 250,
            "owner": "Ben",
        },
    },
    "Quote": {
        QUOTE_A: {
            "opportunity_id": OPPORTUNITY_A,
            "name": "First",
            "amount": 400.25,
            "status": "Draft",
            "quote_prefix": "EU",
        },
        QUOTE_B: {
            "opportunity_id": OPPORTUNITY_A,
            "name": "Second",
            "amount": 600,
            "status": "Sent",
            "quote_prefix": "AB",
        },
    },
    "Contract": {
        CONTRACT_A: {
            "client_id": CLIENT_A,
            "opportunity_id": OPPORTUNITY_A,
            "value": 5000,
            "status": "Active",
            "start_date": "2024-01-01",
        }
    },
    "Document": {
        DOCUMENT_A: {"entity_type": "Quote", "entity_id": QUOTE_A, "file_name": "offer.pdf"},
    },
    "Note": {NOTE_A: {"entity_type": "Client", "entity_id": CLIENT_A, "content": "Call back"}},
    "Company": {
        COMPANY_A: {
            "name": "Initech",
            "type": "Vendor",
            "industry": "Software",
            "contacts": ["Bill Lumbergh", "Milton"],
        }
    },
}


def conversation(
    seed_data: Any = None, turns: list[dict[str, Any]] | None = None, name: str = "conv-1"
) -> Conversation:
    """A conversation with these seeds; one harmless turn unless told otherwise."""
    return Conversation.model_validate(
        {
            "conversation_id": name,
            "turns": turns or [{"turn_id": 1, "user_utterance": "?", "expected_tool": "quote_prefixes"}],
            "initial_entities": {} if seed_data is None else {"seed_data": seed_data},
        }
    )


def state_of(session: Session) -> Rows:
    """Every row of the session, in the order of the IDs: the database promises none."""
    return {
        table: sorted(rows, key=lambda row: str(next(iter(row.values()))))
        for table, rows in sorted(session.rows().items())
    }


def refusal(session: Session, tool: str, **arguments: Any) -> ToolError:
    """The error that a call must end in."""
    with pytest.raises(ToolError) as caught:
        session.call(tool, arguments)
    return caught.value


def error_sentence(session: Session, tool: str, **arguments: Any) -> str:
    """The sentence of the error that a call must end in."""
    return refusal(session, tool, **arguments).message
