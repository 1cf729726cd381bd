"""The judge counts in decimals, the engines in integers. All rounding happens here."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

DIGITS = 60
"""More than any price or quantity has, so that no product here is ever rounded."""


@dataclass(frozen=True)
class Units:
    """One tick and one lot, in the judge's decimals.

    >>> units = Units(tick_size=Decimal("0.01"), quantity_decimal_places=12)
    >>> units.ticks(Decimal("100.006")), units.price(10001)
    (10001, '100.01')
    >>> units.lots(Decimal("2.50")), units.quantity(2_500_000_000_000)
    (2500000000000, '2.5')
    """

    tick_size: Decimal
    quantity_decimal_places: int

    @property
    def lot_size(self) -> Decimal:
        return Decimal(1).scaleb(-self.quantity_decimal_places)

    def ticks(self, price: Decimal) -> int:
        """Snap a price to the grid as the judge does: half-even, on the quotient of two floats.

        The one place in the project where a price is a float. Exact division would round some
        midpoints the other way: 1.015 / 0.01 is 101.49999999999999 in binary.

        >>> Units(Decimal("0.01"), 12).ticks(Decimal("1.015"))
        101
        """
        return round(float(price) / float(self.tick_size))

    def lots(self, quantity: Decimal) -> int:
        """Count the lots in a quantity; what is finer than a lot is rounded half-even."""
        with localcontext(prec=DIGITS):
            lots = quantity.scaleb(self.quantity_decimal_places)
            return int(lots.to_integral_value(rounding=ROUND_HALF_EVEN))

    def price(self, ticks: int) -> str:
        """A price as the judge writes it."""
        with localcontext(prec=DIGITS):
            return canonical(ticks * self.tick_size)

    def quantity(self, lots: int) -> str:
        """A quantity as the judge writes it."""
        with localcontext(prec=DIGITS):
            return canonical(lots * self.lot_size)


def canonical(number: Decimal) -> str:
    """The one way to write a number: no exponent, no zeros at the end.

    >>> canonical(Decimal("1E+2")), canonical(Decimal("0.500")), canonical(Decimal("0.00"))
    ('100', '0.5', '0')
    """
    return format(number.normalize(), "f") if number else "0"
