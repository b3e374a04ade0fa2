"""The CRM as a generated conversation knows it: its rows, and the changes that each turn leaves behind."""

from __future__ import annotations

from crm_assets.crm.entities import SEED_ORDER
from crm_assets.generator import names
from crm_assets.generator.rng import SeededRng
from crm_assets.generator.rows import (
    CLIENT_STATUSES,
    COMPANY_TYPES,
    CONTRACT_STATUSES,
    OPEN_STAGES,
    QUOTE_STATUSES,
    Fields,
    Row,
)

__all__ = ["CrmState", "date_text", "domain_of", "new_uuid"]


class CrmState:
    """All rows of one conversation, in the order of their creation."""

    def __init__(self, rng: SeededRng) -> None:
        self._rng = rng
        self.rows: dict[str, list[Row]] = {entity.name: [] for entity in SEED_ORDER}
        self._heads: set[str] = set()
        self._deals: set[str] = set()
        self._people: set[str] = set()
        self._seed_rows()

    def seed_data(self) -> dict[str, dict[str, Fields]]:
        """Return the rows as they are now, as a dataset's {entity: {id: fields}}."""
        return {
            entity: {str(row.row_id): row.as_seed() for row in rows}
            for entity, rows in self.rows.items()
            if rows
        }

    def add(
        self,
        entity: str,
        fields: Fields,
        row_id: str | None,
        *,
        client: Row | None = None,
        opportunity: Row | None = None,
        target: Row | None = None,
    ) -> Row:
        """Append a row to its table and return it."""
        row = Row(entity, fields, row_id, client=client, opportunity=opportunity, target=target)
        self.rows[entity].append(row)
        return row

    def delete(self, row: Row) -> None:
        """Remove a quote, or an opportunity with its quotes; contracts lose the opportunity."""
        self.rows[row.entity].remove(row)
        if row.entity == "Opportunity":
            self.rows["Quote"] = [quote for quote in self.rows["Quote"] if quote.opportunity is not row]
            for contract in self.rows["Contract"]:
                if contract.opportunity is row:
                    contract.opportunity = None

    def find(self, entity: str, criteria: Fields) -> list[Row]:
        """Return the rows that a search finds; a row as a criterion stands for its ID."""
        return [row for row in self.rows[entity] if row.matches(criteria)]

    # Invented values, unique within the conversation.

    def client_name(self) -> str:
        """Return a name whose first word no other client or company here has."""
        while True:
            head = self._rng.choice(names.CLIENT_HEADS)
            if head not in self._heads:
                self._heads.add(head)
                return f"{head} {self._rng.choice(names.CLIENT_TAILS)}"

    def deal_name(self) -> str:
        """Return a name that no other opportunity here has."""
        while True:
            name = f"{self._rng.choice(names.DEAL_TOPICS)} {self._rng.choice(names.DEAL_KINDS)}"
            if name not in self._deals:
                self._deals.add(name)
                return name

    def person(self) -> tuple[str, str]:
        """Return first and last name; no two people here share a last name."""
        while True:
            last = self._rng.choice(names.LAST_NAMES)
            if last not in self._people:
                self._people.add(last)
                return self._rng.choice(names.FIRST_NAMES), last

    def phone(self) -> str:
        """Return a phone number of the range kept for fiction."""
        return f"+1-{self._rng.choice((202, 303, 415, 617))}-555-01{self._rng.randrange(100):02d}"

    def address(self) -> str:
        """Return street and city."""
        rng = self._rng
        return f"{rng.randrange(1, 99)} {rng.choice(names.STREETS)}, {rng.choice(names.CITIES)}"

    def amount(self) -> float | int:
        """Return a plausible price in dollars, now and then with cents."""
        value = self._rng.randrange(8, 800) * 500
        return value + 249.5 if self._rng.chance(0.1) else value

    def _seed_rows(self) -> None:
        rng = self._rng
        for _ in range(rng.randrange(2, 5)):
            self.add("Client", self.client_fields(self.client_name()), new_uuid(rng))
        clients = self.rows["Client"]
        for _ in range(rng.randrange(2, 5)):
            client = rng.choice(clients)
            self.add("Contact", self.contact_fields(client), new_uuid(rng), client=client)
        for _ in range(rng.randrange(3, 6)):
            client = rng.choice(clients)
            self.add("Opportunity", self._deal_fields(), new_uuid(rng), client=client)
        for number in range(rng.randrange(3, 5)):
            deal = self.rows["Opportunity"][number % 3]
            self.add("Quote", self._quote_fields(deal), new_uuid(rng), opportunity=deal)
        for _ in range(rng.randrange(1, 3)):
            deal = rng.choice(self.rows["Opportunity"])
            self.add(
                "Contract",
                self._contract_fields(deal),
                new_uuid(rng),
                client=deal.client,
                opportunity=deal,
            )
        for _ in range(rng.choice((0, 1, 2, 3))):
            self.add("Company", self._company_fields(), new_uuid(rng))
        self._seed_attachments()

    def _seed_attachments(self) -> None:
        rng = self._rng
        attachable = self.rows["Opportunity"] + self.rows["Client"] + self.rows["Quote"]
        for _ in range(rng.choice((0, 0, 1, 2))):
            fields = {"file_name": rng.choice(names.DOCUMENTS), "uploaded_by": rng.choice(names.OWNERS)}
            self.add("Document", fields, new_uuid(rng), target=rng.choice(attachable))
        for _ in range(rng.choice((0, 0, 1, 2))):
            fields = {"content": rng.choice(names.REMARKS), "created_by": rng.choice(names.OWNERS)}
            self.add("Note", fields, new_uuid(rng), target=rng.choice(attachable))

    def client_fields(self, name: str) -> Fields:
        """Return all fields of a client called `name`."""
        rng = self._rng
        return {
            "name": name,
            "email": f"{rng.choice(('info', 'office', 'hello', 'contact'))}@{domain_of(name)}",
            "status": rng.choice(CLIENT_STATUSES),
            "industry": rng.choice(names.INDUSTRIES),
            "phone": self.phone(),
            "address": self.address(),
            "owner": rng.choice(names.OWNERS),
        }

    def contact_fields(self, client: Row) -> Fields:
        """Return all fields of a new contact of `client`."""
        first, last = self.person()
        return {
            "first_name": first,
            "last_name": last,
            "title": self._rng.choice(names.TITLES),
            "email": f"{first}.{last}@{domain_of(client.name)}".lower(),
            "phone": self.phone(),
        }

    def _deal_fields(self) -> Fields:
        rng = self._rng
        return {
            "name": self.deal_name(),
            "stage": rng.choice(OPEN_STAGES),
            "amount": self.amount(),
            "probability": rng.randrange(1, 20) * 5,
            "close_date": date_text(rng),
            "owner": rng.choice(names.OWNERS),
        }

    def _quote_fields(self, deal: Row) -> Fields:
        rng = self._rng
        taken = sum(1 for quote in self.rows["Quote"] if quote.opportunity is deal)
        return {
            "name": f"{deal.name} Offer {'ABCD'[taken]}",
            "version": "1.0",
            "amount": self.amount(),
            "status": rng.choice(QUOTE_STATUSES),
            "valid_until": date_text(rng),
            "quote_prefix": rng.choice(names.PREFIXES),
        }

    def _contract_fields(self, deal: Row) -> Fields:
        rng = self._rng
        year = rng.randrange(2035, 2038)
        return {
            "status": rng.choice(CONTRACT_STATUSES),
            "value": deal.fields["amount"],
            "start_date": date_text(rng, year),
            "end_date": date_text(rng, year + 2),
        }

    def _company_fields(self) -> Fields:
        rng = self._rng
        return {
            "name": self.client_name(),
            "type": rng.choice(COMPANY_TYPES),
            "industry": rng.choice(names.INDUSTRIES),
            "address": self.address(),
            "contacts": [" ".join(self.person())],
        }


def new_uuid(rng: SeededRng) -> str:
    """Return a version 4 UUID from `rng`; the standard library's is several times slower."""
    digits = f"{rng.bits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def date_text(rng: SeededRng, year: int | None = None) -> str:
    """Return an ISO day so far ahead that a dataset stays valid."""
    return f"{year or rng.randrange(2035, 2040)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"


def domain_of(name: str) -> str:
    """Return the mail domain of a company called `name`."""
    return f"{name.split(maxsplit=1)[0].lower()}.example"
