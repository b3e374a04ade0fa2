"""The turns of a conversation: its kind of work, its length, its segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from crm_assets.generator import clients, deals, paperwork
from crm_assets.generator.conversation_builder import TurnTemplate
from crm_assets.generator.rng import SeededRng
from crm_assets.generator.searches import SEARCHES

__all__ = ["SHAPES", "TURN_TEMPLATES", "Chain", "choose_chain", "choose_scenario", "choose_turns"]

TURN_TEMPLATES: Mapping[str, TurnTemplate] = {
    **SEARCHES,
    "create_new_client": clients.create_new_client,
    "create_new_contact": clients.create_new_contact,
    "modify_client": clients.modify_client,
    "modify_contact": clients.modify_contact,
    "create_new_opportunity": deals.create_new_opportunity,
    "modify_opportunity": deals.modify_opportunity,
    "view_opportunity_details": deals.view_opportunity_details,
    "opportunity_details": deals.opportunity_details,
    "clone_opportunity": deals.clone_opportunity,
    "delete_opportunity": deals.delete_opportunity,
    "summarize_opportunities": deals.summarize_opportunities,
    "create_quote": paperwork.create_quote,
    "modify_quote": paperwork.modify_quote,
    "quote_details": paperwork.quote_details,
    "cancel_quote": paperwork.cancel_quote,
    "delete_quote": paperwork.delete_quote,
    "compare_quotes": paperwork.compare_quotes,
    "compare_quote_details": paperwork.compare_quote_details,
    "quote_prefixes": paperwork.quote_prefixes,
    "create_contract": paperwork.create_contract,
    "upload_document": paperwork.upload_document,
    "add_note": paperwork.add_note,
}
"""The turn that each of the CRM's tools answers; datasets depend on the order."""

SHAPES = ((1, 1), (3, 4), (0, 0), (1, 2), (3, 5), (6, 10), (2, 2), (4, 5), (0, 0))
"""Fewest and most turns, in rotation; (0, 0) is a chain."""


class Scenario(NamedTuple):
    """A kind of work, and the tools of its turns in a plausible order."""

    category: str
    tools: tuple[str, ...]


def _scenario(category: str, tools: str) -> Scenario:
    return Scenario(category, tuple(tools.split()))


_SCENARIOS = (
    _scenario(
        "Client Management",
        "client_search modify_client contact_search create_new_contact add_note opportunity_search "
        "create_new_opportunity summarize_opportunities upload_document modify_client",
    ),
    _scenario(
        "Client Management",
        "create_new_client create_new_contact create_new_opportunity create_quote upload_document "
        "add_note modify_client modify_contact client_search contact_search",
    ),
    _scenario(
        "Contact Management",
        "client_search contact_search create_new_contact modify_contact add_note contact_search "
        "modify_contact opportunity_search upload_document add_note",
    ),
    _scenario(
        "Opportunity Management",
        "opportunity_search view_opportunity_details modify_opportunity clone_opportunity create_quote "
        "opportunity_details add_note modify_opportunity summarize_opportunities delete_opportunity",
    ),
    _scenario(
        "Opportunity Management",
        "client_search create_new_opportunity opportunity_details modify_opportunity upload_document "
        "clone_opportunity modify_opportunity view_opportunity_details summarize_opportunities "
        "delete_opportunity",
    ),
    _scenario(
        "Quote Management",
        "opportunity_search quote_prefixes create_quote quote_details modify_quote quote_search "
        "compare_quotes compare_quote_details cancel_quote delete_quote",
    ),
    _scenario(
        "Quote Management",
        "view_opportunity_details quote_search quote_details create_quote compare_quote_details "
        "modify_quote compare_quotes cancel_quote quote_prefixes delete_quote",
    ),
    _scenario(
        "Contract Management",
        "client_search opportunity_search contract_search create_contract upload_document add_note "
        "contract_search modify_opportunity modify_client opportunity_details",
    ),
    _scenario(
        "Document Management",
        "opportunity_search upload_document add_note client_search upload_document quote_search "
        "upload_document contract_search add_note modify_contact",
    ),
    _scenario(
        "Notes & Collaboration",
        "client_search add_note contact_search add_note view_opportunity_details add_note "
        "modify_opportunity quote_details add_note summarize_opportunities",
    ),
    _scenario(
        "Company / Account Management",
        "company_search client_search modify_client company_search contact_search opportunity_search "
        "create_new_opportunity contract_search add_note company_search",
    ),
    _scenario(
        "General",
        "summarize_opportunities client_search opportunity_details quote_search company_search "
        "contract_search create_new_contact modify_opportunity create_quote add_note",
    ),
)


class Chain(NamedTuple):
    """Kinds of work that follow each other in one conversation."""

    chain_id: str
    title: str
    categories: tuple[str, ...]


_CHAINS = (
    Chain(
        "GEN-CHAIN-01",
        "Onboard a client, run the deal, sign the contract",
        ("Client Management", "Opportunity Management", "Contract Management"),
    ),
    Chain(
        "GEN-CHAIN-02",
        "Advance a deal, then quote it",
        ("Opportunity Management", "Quote Management"),
    ),
    Chain(
        "GEN-CHAIN-03",
        "Refresh the contacts, file documents, leave notes",
        ("Contact Management", "Document Management", "Notes & Collaboration"),
    ),
    Chain(
        "GEN-CHAIN-04",
        "Review an account, then quote and sign",
        ("Company / Account Management", "Quote Management", "Contract Management"),
    ),
    Chain(
        "GEN-CHAIN-05",
        "Client lifecycle from first call to contract",
        ("Client Management", "Opportunity Management", "Quote Management", "Contract Management"),
    ),
    Chain(
        "GEN-CHAIN-06",
        "Pipeline review with clean-up of quotes",
        ("General", "Opportunity Management", "Quote Management"),
    ),
)


def choose_scenario(rng: SeededRng, tool: str, category: str | None = None) -> Scenario:
    """Return a scenario that holds `tool`, of `category` where one is given."""
    return rng.choice(
        [
            scenario
            for scenario in _SCENARIOS
            if tool in scenario.tools and (category is None or scenario.category == category)
        ]
    )


def choose_turns(rng: SeededRng, scenario: Scenario, tool: str | None, count: int) -> list[TurnTemplate]:
    """Return `count` turns of a scenario in its order, `tool` among them."""
    positions = list(range(len(scenario.tools)))
    kept: list[int] = []
    if tool is not None:
        kept = [rng.choice([place for place in positions if scenario.tools[place] == tool])]
        positions.remove(kept[0])
    count = min(count, len(scenario.tools))
    kept += rng.sample(positions, count - len(kept))
    return [TURN_TEMPLATES[scenario.tools[place]] for place in sorted(kept)]


def choose_chain(rng: SeededRng, tool: str) -> tuple[Chain, list[tuple[str, list[TurnTemplate]]]]:
    """Return a chain that holds `tool`, and category and turns of each of its segments."""
    homes = {scenario.category for scenario in _SCENARIOS if tool in scenario.tools}
    chain = rng.choice([chain for chain in _CHAINS if homes.intersection(chain.categories)])
    featured = rng.choice([place for place, name in enumerate(chain.categories) if name in homes])
    segments = []
    for place, category in enumerate(chain.categories):
        wanted = tool if place == featured else None
        scenarios = [scenario for scenario in _SCENARIOS if scenario.category == category]
        scenario = choose_scenario(rng, wanted, category) if wanted else rng.choice(scenarios)
        segments.append((category, choose_turns(rng, scenario, wanted, rng.randrange(2, 5))))
    return chain, segments
