"""The same listings in a small and in a large catalogue: what a hundred times the products cost.

First pages, and pages from the middle of the range of each sort field, of what an index holds in order, and of two
conditions that need checks. Milliseconds of products.listing.queries.find(), as in listing.py.
"""

from __future__ import annotations

import datetime as dt
import statistics
import sys
import time
from decimal import Decimal
from typing import Any

import django
from django.core.management import call_command

SMALL = 50_000
REPEATS = 15
SORTS = ("-created_at", "created_at", "-price", "price", "-name", "name")
MIDDLE = {"created_at": dt.datetime(2025, 7, 1, tzinfo=dt.UTC), "price": Decimal("60.00"), "name": "Mango, Grade B"}


def measured() -> dict[str, list[float]]:
    """listing -> median milliseconds of each sort and page."""
    from products import vocabulary  # noqa: PLC0415  # once Django is set up
    from products.listing.conditions import Flag, OneOf, Prefix, Word  # noqa: PLC0415
    from products.listing.pagination import Place, Sort  # noqa: PLC0415
    from products.listing.queries import find  # noqa: PLC0415
    from products.models import Farm  # noqa: PLC0415

    def of(field: str, *slugs: str) -> OneOf:
        return OneOf(field, tuple(vocabulary.find(field, slug) or 0 for slug in slugs))

    listings: dict[str, list[Any]] = {
        "no filter": [],
        "category": [of("category", "vegetables")],
        "two categories": [of("category", "fruits", "spices")],
        "commodity": [of("commodity", "tomato")],
        "state": [of("state", "uttar-pradesh")],
        "farm": [OneOf("farm", (Farm.objects.earliest("pk").pk,))],
        "word": [Prefix("tomato")],
        "frequent word": [Word("b")],
        "organic": [Flag("organic", True)],
        "word and state": [Prefix("tomato"), of("state", "uttar-pradesh")],
    }
    found: dict[str, list[float]] = {}
    for name, conditions in listings.items():
        found[name] = []
        for text in SORTS:
            sort = Sort.parse(text)
            for behind in (None, Place(MIDDLE[sort.field], 1)):
                times = []
                for _ in range(REPEATS):
                    start = time.perf_counter()
                    find(conditions, sort, behind, 26)
                    times.append((time.perf_counter() - start) * 1000)
                found[name].append(statistics.median(times))
    return found


def main(rows: int) -> None:
    django.setup()
    from products.listing import statistics as known  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    results = []
    for size in (SMALL, rows):
        call_command("seed_products", size, "--reset")
        known.forget()
        measured()  # warms the buffer pool
        results.append(measured())
    small, large = results
    print(f"| listing | {SMALL:,} products, ms | {rows:,} products, ms | ratio |\n|---|---|---|---|")
    for name in small:
        few, many = statistics.median(small[name]), statistics.median(large[name])
        print(f"| {name} | {few:.2f} | {many:.2f} | {many / few:.2f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]))
