"""The planner's statistics: sets of sampled products."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any

import pytest

from products.listing.statistics import SEGMENTS, Statistics
from products.models import INDEXED_FILTERS, SORT_FIELDS


def sampled_rows(count: int, rng: random.Random) -> list[dict[str, Any]]:
    """With many equal prices."""
    return [
        {
            **dict.fromkeys(INDEXED_FILTERS, 1),
            "created_at": dt.datetime.fromtimestamp(rng.randrange(10**6), dt.UTC),
            "price": Decimal(rng.randrange(1, 40)),
            "name": f"{rng.randrange(100)}",
            "organic": False,
            "stock": 1,
            "words": " x ",
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_price_range_contains_exactly_its_products(count: int) -> None:
    rng = random.Random(count)
    rows = sampled_rows(count, rng)
    statistics = Statistics(rows, 1)
    for order in SORT_FIELDS:
        in_order = sorted(rows, key=lambda row: row[order])  # stable, as the statistics' ranks are
        for _ in range(20):
            low, high = sorted(rng.choices([None, *map(Decimal, range(42))], k=2), key=lambda end: end or 0)
            found = statistics.with_price(order, low, high)
            expected = [
                (low is None or row["price"] >= low) and (high is None or row["price"] <= high) for row in in_order
            ]
            assert [bool(found >> rank & 1) for rank in range(count)] == expected


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_few_unmatched_candidates_do_not_raise_the_estimate(scale: int) -> None:
    statistics = Statistics(sampled_rows(100 * SEGMENTS, random.Random(1)), scale)
    first = 100 * (SEGMENTS - 1)  # all segments but the last, which has four candidates
    candidates, every_second = (1 << first + 4) - 1, ((1 << first) - 1) // 3
    assert statistics.estimate_reads(candidates, every_second, 26) == 2 * 26


@pytest.mark.parametrize("scale", [100, 10_000])
def test_stretch_that_should_have_matches_counts_whole(scale: int) -> None:
    count = 100 * SEGMENTS
    statistics = Statistics(sampled_rows(count, random.Random(1)), scale)
    first_quarter = statistics.all_products() >> count * 3 // 4
    assert statistics.estimate_reads(statistics.all_products(), first_quarter, 26) == count * 3 // 4 * scale
