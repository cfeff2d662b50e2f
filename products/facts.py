"""How large the catalogue is, for the front page. Read without a scan of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from products import vocabulary
from products.listing.counting import count
from products.models import Farm

MAX_FARMS_COUNTED = 10_000


class Facts(NamedTuple):
    products: str  # "312", "about 37,000" or "between 50 and 400"
    farms: str
    commodities: int
    categories: Sequence[dict[str, str]]  # {"slug", "name"}, sorted by name
    states: Sequence[dict[str, str]]


def read_facts() -> Facts:
    names = vocabulary.cached().names
    return Facts(
        products=str(count([])).removeprefix("exactly "),
        farms=_farms(),
        commodities=len(names["commodity"]),
        categories=list(names["category"].values()),
        states=list(names["state"].values()),
    )


def _farms() -> str:
    found = Farm.objects.order_by()[: MAX_FARMS_COUNTED + 1].count()
    return f"over {MAX_FARMS_COUNTED:,}" if found > MAX_FARMS_COUNTED else f"{found:,}"
