"""Kinds of fields that hold numbers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import ClassVar

from crm_assets.crm.fields import NO_MATCH, JsonSchema, NoMatch, Rule

__all__ = ["MAX_AMOUNT", "Amount", "Probability", "digits"]

MAX_AMOUNT = Decimal(10_000_000)
MAX_VALUE = Decimal("999999999999.99")
"""Largest money that its column holds, where no rule sets a lower bound."""

_CENT = Decimal("0.01")

# No stored number is beyond 10^12, so a larger one may be cut to this and is still too large.
_BEYOND_ALL = Decimal(10) ** 15


def _decimal(value: object) -> Decimal | None:
    """Return a finite number exactly; None for booleans, text, NaN and infinities."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    # Python cannot convert very long integers to text; they are beyond every bound here anyway.
    if isinstance(value, int) and abs(value) > _BEYOND_ALL:
        return _BEYOND_ALL.copy_sign(-1 if value < 0 else 1)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        return None
    # The same for exponents: arithmetic on the largest ones overflows.
    if number and number.adjusted() > _BEYOND_ALL.adjusted():
        return _BEYOND_ALL.copy_sign(number)
    return number


def digits(number: float) -> str:
    """Return `number` as text."""
    # Python refuses to convert very long integers; no stored number is as long as this one.
    return str(number) if isinstance(number, float) or abs(number) <= _BEYOND_ALL else f"{_BEYOND_ALL:f}"


def _number_criterion(label: str, value: object) -> Decimal | NoMatch:
    number = _decimal(value)
    if number is None and isinstance(value, str):
        try:
            number = _decimal(Decimal(value.strip()))
        except InvalidOperation:
            number = None
    if number is None:
        raise ValueError(f"{label} must be a number.")
    # Stored numbers have at most two decimals, and Postgres cannot read some longer ones.
    cents = number.quantize(_CENT)
    return cents if cents == number else NO_MATCH


@dataclass(frozen=True)
class Amount(Rule):
    """Money in dollars with two decimals; if `bounded`, above zero and at most 10,000,000."""

    bounded: bool = True

    cast: ClassVar[str] = "numeric"

    @property
    def maximum(self) -> Decimal:
        """Return the largest amount allowed."""
        return MAX_AMOUNT if self.bounded else MAX_VALUE

    def parse(self, value: object) -> Decimal:
        """Return the amount rounded to cents; the bounds apply to the rounded one."""
        number = _decimal(value)
        if number is None:
            raise ValueError(f"{self.label} must be a number.")
        if abs(number) <= self.maximum:
            number = number.quantize(_CENT)
        if self.bounded and number <= 0:
            raise ValueError(f"{self.label} must be greater than zero.")
        if number < 0:
            raise ValueError(f"{self.label} must not be negative.")
        if number > self.maximum:
            raise ValueError(f"{self.label} must not exceed {self.maximum:,}.")
        return number

    def criterion(self, value: object) -> object:
        """Return any number, given as a number or as its digits."""
        return _number_criterion(self.label, value)

    def schema(self) -> JsonSchema:
        """Return a number with its bounds."""
        if self.bounded:
            return {"type": "number", "exclusiveMinimum": 0, "maximum": int(MAX_AMOUNT)}
        return {"type": "number", "minimum": 0}


@dataclass(frozen=True)
class Probability(Rule):
    """A whole number of percent, 1–99."""

    low: ClassVar[int] = 1
    high: ClassVar[int] = 99
    cast: ClassVar[str] = "integer"

    def parse(self, value: object) -> int:
        """Return the whole number; 75.0 is 75."""
        number = _decimal(value)
        if number is None or number != number.to_integral_value():
            raise ValueError(f"{self.label} must be a whole number from {self.low} to {self.high}.")
        if not self.low <= number <= self.high:
            raise ValueError(f"{self.label} must be a whole number from {self.low} to {self.high}.")
        return int(number)

    def criterion(self, value: object) -> object:
        """Return any number; one that is not whole matches no row."""
        return _number_criterion(self.label, value)

    def condition(self, column: str) -> str:
        """Compare as numbers: 50.5 matches no row, and is not an error."""
        return f"{column} = %s::numeric"

    def schema(self) -> JsonSchema:
        """Return an integer with its bounds."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}
