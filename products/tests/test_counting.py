"""Counts of a listing: exact if few index entries tell, estimated otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Q
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from dev.testing.databases import rows_read
from dev.testing.offers import make_offers
from products.listing import statistics
from products.listing.counting import MAX_ENTRIES, Count, count
from products.listing.listing_parameters import PARAMETERS
from products.listing.listings import DEFAULT_SORT, Listing, Position
from products.listing.queries import find
from products.models import Posting, Product

pytestmark = pytest.mark.usefixtures("live_database")

ROWS = 60_000
WITHDRAWN = 8_000

# Each query as a condition of Django's ORM.
QUERIES: dict[str, Any] = {
    "": Q(),
    "category=vegetables": Q(category__slug="vegetables"),
    "category=fruits&category=spices": Q(category__slug__in=["fruits", "spices"]),
    "state=goa": Q(state__slug="goa"),
    "farm=7": Q(farm=7),
    "farm=7&organic=true": Q(farm=7, organic=True),
    "organic=true": Q(organic=True),
    "in_stock=false&commodity=onion": Q(stock=0, commodity__slug="onion"),
    "q=tomato": Q(words__contains=" tomato "),
    "q=tomat": Q(words__contains=" tomat"),
    "q=tomato+goa": Q(words__contains=" tomato ") & Q(words__contains=" goa"),
    "q=tomato+mango": Q(words__contains=" tomato ") & Q(words__contains=" mango"),
    "price_min=44&price_max=45": Q(price__range=(44, 45)),
    "price_min=99999": Q(price__gte=99999),
    "commodity=unknown": Q(pk=0),
}


@pytest.fixture(scope="module", autouse=True)
def catalogue(live_database: None) -> None:
    """The oldest products are withdrawn."""
    call_command("seed_products", ROWS, "--reset")
    oldest = list(Product.objects.order_by("created_at", "pk").values_list("pk", flat=True)[:WITHDRAWN])
    Product.objects.filter(pk__in=oldest).update(is_active=False)
    Posting.objects.filter(product_id__in=oldest).delete()


def listing_of(query: str) -> Listing:
    listing = PARAMETERS.read(QueryDict(query))
    assert isinstance(listing, Listing)
    return listing


def counted(query: str, *, is_active: bool = True) -> Count:
    return count(listing_of(query).conditions, is_active=is_active)


def matches(query: str, *, is_active: bool) -> Any:
    return Product.objects.filter(QUERIES[query], is_active=is_active)


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("query", QUERIES)
def test_count_is_exact_or_within_its_range(query: str, is_active: bool) -> None:
    found, actual = counted(query, is_active=is_active), matches(query, is_active=is_active).count()
    spread = found.high - found.low  # more than the range, so that the test does not fail in 1 of 20 runs
    assert found.low - spread <= actual <= found.high + spread


@pytest.mark.parametrize("query", ["", "category=vegetables", "q=tomato", "organic=true"])
def test_frequent_matches_are_estimated_without_a_statement(query: str) -> None:
    statistics.current()
    with CaptureQueriesContext(connection) as queries:
        assert not counted(query).is_exact
    assert len(queries) == 0


def test_rare_matches_are_exact_for_one_short_statement() -> None:
    farm, products = Counter(Product.objects.listed().values_list("farm_id", flat=True)).most_common()[-1]
    for query, actual in ((f"farm={farm}", products), ("price_min=99999", 0)):
        assert counted(query) == (actual,) * 3
        assert rows_read(partial(counted, query)) <= MAX_ENTRIES + 10


@pytest.mark.parametrize("query", [query for query in QUERIES if "&" in query])
def test_rare_combination_is_counted_within_the_budget_of_a_page(query: str) -> None:
    conditions = listing_of(query).conditions
    statistics.current()
    for state in ({"is_active": True}, {"is_active": False}):
        page = rows_read(partial(find, conditions, DEFAULT_SORT, None, 500, **state))
        assert rows_read(partial(count, conditions, **state)) <= page + MAX_ENTRIES


def pages(query: str) -> Iterator[list[int]]:
    """Pages of withdrawn products."""
    conditions, after, is_end = listing_of(query).conditions, None, False
    while not is_end:
        found = find(conditions, DEFAULT_SORT, after, 500, is_active=False)
        yield [row["id"] for row in found.rows]
        if len(found.rows) == 500:
            after = Position(found.rows[-1]["created_at"], found.rows[-1]["id"])
        else:
            after, is_end = found.stopped_at, found.stopped_at is None


@pytest.mark.parametrize("query", QUERIES)
def test_withdrawn_products_are_found_by_every_condition(query: str) -> None:
    found = [pk for page in pages(query) for pk in page]
    in_order = matches(query, is_active=False).order_by("-created_at", "-pk")
    assert found == list(in_order.values_list("pk", flat=True))


@pytest.mark.parametrize("query", QUERIES)
def test_page_of_withdrawn_products_is_one_bounded_statement(query: str) -> None:
    conditions = listing_of(query).conditions
    statistics.current()
    with CaptureQueriesContext(connection) as queries:
        reads = rows_read(lambda: find(conditions, DEFAULT_SORT, None, 100, is_active=False))
    assert len([entry for entry in queries if "products_product" in entry["sql"]]) <= 1
    assert reads <= 60_000, reads


def test_count_of_a_small_catalogue_is_exact() -> None:
    Product.objects.all().delete()
    statistics.reset()
    make_offers({"name": f"{n}", "organic": n % 3 == 0, "is_active": n < 900} for n in range(1000))
    for query, listed, withdrawn in (("", 900, 100), ("organic=true", 300, 34), ("q=899", 1, 0), ("q=901", 0, 1)):
        assert counted(query) == (listed,) * 3
        assert counted(query, is_active=False) == (withdrawn,) * 3


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Count(0, 0, 0), "exactly 0"),
        (Count(1312, 1312, 1312), "exactly 1,312"),
        (Count(37_421, 35_000, 39_950), "about 37,000"),
        (Count(996_400, 990_000, 999_000), "about 1,000,000"),
        (Count(730, 500, 2150), "between 500 and 2,200"),
        (Count(0, 0, 915), "between 0 and 920"),
    ],
)
def test_text_of_a_count_shows_how_exact_it_is(found: Count, text: str) -> None:
    assert str(found) == text
    assert bool(found.explain()) is not found.is_exact
    assert "between 35,000 and 40,000" in Count(37_421, 35_000, 39_950).explain()
