"""make bench-scale: the same listings among 50,000 and among ROWS products.

Milliseconds of products.listing.queries.find(), as in listing.py, for each sort: the first page, and a page from the
middle of the sort field's range. The listings are ranges of one index, and two conditions that need row checks.
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from decimal import Decimal
from typing import Any

from django.core.management import call_command

from dev.bench.figures import save, table
from products import vocabulary
from products.listing import statistics as catalogue_statistics
from products.listing.conditions import Flag, OneOf, Prefix, Word
from products.listing.listings import Position, Sort
from products.listing.queries import find
from products.models import Farm

SMALL = 50_000
REPEATS = 15
LIMIT = 25
SORTS = ("-created_at", "created_at", "-price", "price", "-name", "name")
MIDDLE = {"created_at": dt.datetime(2025, 7, 1, tzinfo=dt.UTC), "price": Decimal("60.00"), "name": "Mango, Grade B"}


def one_of(field: str, *slugs: str) -> OneOf:
    return OneOf(field, tuple(vocabulary.find(field, slug) or 0 for slug in slugs))


def listings() -> dict[str, list[Any]]:
    """name -> conditions."""
    return {
        "no filter": [],
        "category": [one_of("category", "vegetables")],
        "two categories": [one_of("category", "fruits", "spices")],
        "commodity": [one_of("commodity", "tomato")],
        "state": [one_of("state", "uttar-pradesh")],
        "farm": [OneOf("farm", (Farm.objects.earliest("pk").pk,))],
        "word": [Prefix("tomato")],
        "frequent word": [Word("b")],
        "organic": [Flag("organic", True)],
        "word and state": [Prefix("tomato"), one_of("state", "uttar-pradesh")],
    }


def median_milliseconds(conditions: list[Any], sort: Sort, after: Position | None) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        find(conditions, sort, after, LIMIT + 1)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def measure() -> dict[str, float]:
    """name -> median of the medians of all sorts and pages."""
    return {
        name: statistics.median(
            median_milliseconds(conditions, sort, after)
            for sort in map(Sort.parse, SORTS)
            for after in (None, Position(MIDDLE[sort.field], 1))
        )
        for name, conditions in listings().items()
    }


def main(rows: int) -> None:
    call_command("migrate", verbosity=0)
    results = []
    for size in (SMALL, rows):
        call_command("seed_products", size, "--reset")
        catalogue_statistics.reset()
        measure()  # warms the buffer pool
        results.append(measure())
    small, large = results
    lines = [(name, f"{small[name]:.2f}", f"{large[name]:.2f}", f"{large[name] / small[name]:.2f}") for name in small]
    columns = ("listing", f"{SMALL:,} products, ms", f"{rows:,} products, ms", "ratio")
    print(table(columns, lines))
    save("scale", f"make bench-scale ROWS={rows}", columns, lines)
