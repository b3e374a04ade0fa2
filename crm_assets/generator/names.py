"""Invented companies, people, deals and remarks that generated conversations are about.

Domains end in `.example` and phone numbers are of the range kept for fiction, so that none of them is
real.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(","))


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


CLIENT_HEADS = _words(
    """Alderbrook Ashgrove Bellweather Birchfield Bluewater Brightmoor Calderwood Cinderhill Copperleaf
    Crestline Dunmarrow Eastvale Elmstead Fairhaven Fernbrook Foxglove Glenrock Goldcrest Greystone
    Harborline Hawthorne Highmark Ironbridge Juniper Kestrel Kingsmere Lakeshore Larkspur Lindenhall
    Longacre Maplewood Meridian Millbrook Moorgate Northgate Oakhurst Orchardway Pinnacle Quarrystone
    Ravenscourt Redfern Ridgeway Riverbend Rosewell Sandpiper Silverlake Stonebridge Summerfield
    Thornbury Tidewater Upland Valleyforge Wavecrest Westbourne Willowbank Windermere Yarrow Zephyr"""
)
CLIENT_TAILS = _words(
    """Logistics Foods Analytics Robotics Health Energy Textiles Media Insurance Packaging Aviation
    Ceramics Dynamics Optics Pharma Systems Freight Interiors Motors Networks"""
)
INDUSTRIES = _words(
    "Technology Healthcare Finance Retail Manufacturing Logistics Education Energy Hospitality Media"
)
FIRST_NAMES = _words(
    """Amara Anders Beatriz Callum Carmen Daniel Elena Farid Fiona Gareth Hana Ibrahim Ingrid Jasmin
    Jonas Keiko Lars Leila Marcus Mei Nadia Nolan Olga Omar Petra Priya Quentin Rafael Rosa Samuel
    Sofia Tariq Theo Ursula Victor Wanda Xavier Yasmin Yusuf Zoe"""
)
LAST_NAMES = _words(
    """Abbott Adeyemi Almeida Bergstrom Brennan Castillo Chen Dubois Eriksen Fischer Fontaine Gallagher
    Haddad Hoffman Iqbal Jansen Kaplan Kowalski Lindqvist Mahoney Moreau Nakamura Novak Okafor Oliveira
    Petrov Quinn Rahman Rossi Santos Schneider Singh Takahashi Thorne Underwood Vargas Walsh Yilmaz"""
)
OWNERS = _listed(
    """Dana Cole, Ruth Okonkwo, Miguel Serrano, Ivy Hartmann, Tom Brandt, Noor Aziz, Grace Whitfield, Pavel
    Dvorak, Lena Strand, Chidi Eze, Hugo Marchetti, Alice Farrow"""
)
TITLES = _listed(
    """VP of Operations, Head of Procurement, IT Director, Chief Financial Officer, Plant Manager,
    Purchasing Lead, Marketing Director, Data Protection Officer, Regional Manager, Chief Technology
    Officer, Office Manager, Supply Chain Analyst"""
)
DEAL_TOPICS = _listed(
    """Warehouse Automation, Cloud Migration, Fleet Tracking, Payroll Platform, Data Warehouse, Network
    Security, Customer Portal, Field Service, Energy Monitoring, Point of Sale, Document Archive,
    Contact Center, Predictive Maintenance, Staff Training, Online Store, Device Management"""
)
DEAL_KINDS = _words("Rollout Renewal Pilot Upgrade Expansion Subscription Audit Retrofit Bundle Refresh")
PREFIXES = _words("ALPHA BETA CORE EMEA FY36 FY37 NORTH PRO RENEW SOUTH STD VIP")
STREETS = _listed(
    """Quay Street, Mill Lane, Station Road, Market Square, Harbour View, Foundry Way, Orchard Avenue,
    Victoria Terrace"""
)
CITIES = _words("Bristol Leeds Dublin Rotterdam Lyon Porto Gdansk Turin Uppsala Aarhus")
DOCUMENTS = _words(
    """proposal.pdf pricing_sheet.xlsx statement_of_work.docx kickoff_deck.pptx security_review.pdf
    order_form.pdf usage_export.csv meeting_minutes.txt roadmap.key signed_terms.pdf requirements.doc
    org_chart.ppt"""
)
REMARKS = _lines(
    """Asked for a second round of references before the board meets.
    Wants the rollout to start with two sites and grow from there.
    Procurement needs our security questionnaire answered first.
    Budget is approved, the signature waits for the new finance lead.
    Prefers quarterly billing and a single invoice per region.
    Compared us with two vendors and liked our support terms best.
    Needs the training material in French and German as well.
    Will decide after the demo with the operations team.
    Legal asked for a shorter notice period in the contract.
    Happy with the pilot and ready to talk about a longer term.
    Asked us to keep the current discount for another year.
    Moving offices in spring, so delivery dates have to be flexible.
    Reports slow exports and expects a fix before renewal.
    Interested in the analytics add-on once the migration is done.
    Call went well, the decision maker joined for the last ten minutes.
    Wants weekly status mails while the project is running."""
)
BAD_EMAILS = _words("info-at-nowhere sales.team billing@ @contact.example hello.world.example front-desk")
UNKNOWN_FIELDS = _listed(
    """budget_code=FY36-120, lead_source=trade fair, competitor=Northwind, loyalty_tier=gold,
    next_step=send the contract, region=Nordics, discount_reason=volume, forecast_category=commit"""
)
UNKNOWN_ARGUMENTS = _listed(
    """assigned_to=Dana Cole, priority=high, reminder=two days, visibility=team only, color=red,
    approved_by=Ruth Okonkwo, language=German, channel=phone"""
)
