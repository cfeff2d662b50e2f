"""Following `next` to the end sees each product once; following `previous` gives the same pages back."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.testing.listing_writer import listing_writers
from dev.testing.offers import make_offers
from dev.testing.walks import SORTS, ids, walk
from products.models import Farm, Product
from products.seeding import bulk_loader, generator

pytestmark = pytest.mark.usefixtures("live_database")

DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
KEYS = {"created_at": lambda p: p.created_at, "price": lambda p: p.price, "name": lambda p: p.name}

# Few values, so that most products share theirs with others.
product_rows = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["amla", "bael", "citron"]),
        "price": st.sampled_from([Decimal("1.00"), Decimal("2.50"), Decimal("10.00")]),
        "created_at": st.sampled_from([DAY, DAY + dt.timedelta(microseconds=1), DAY + dt.timedelta(days=1)]),
        "is_active": st.sampled_from([True, True, True, False]),
    }
)


def listed_pks(products: list[Product], sort: str) -> list[int]:
    field = sort.removeprefix("-")
    listed = [product for product in products if product.is_active]
    return [p.pk for p in sorted(listed, key=lambda p: (KEYS[field](p), p.pk), reverse=sort.startswith("-"))]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(product_rows, max_size=20), sort=st.sampled_from(SORTS), limit=st.integers(1, 12))
def test_previous_links_give_the_same_pages_as_next_links(
    client: Client, rows: list[dict[str, Any]], sort: str, limit: int
) -> None:
    Product.objects.all().delete()
    products = make_offers(rows)

    forward = list(walk(client, f"/products?sort={sort}&limit={limit}", max_pages=22))

    assert [pk for page in forward for pk in ids(page)] == listed_pks(products, sort)
    assert all(len(ids(page)) == limit for page in forward[:-1])
    assert forward[0]["previous"] is None
    backward = list(walk(client, forward[-1]["previous"], "previous", max_pages=22))
    assert [ids(page) for page in backward] == [ids(page) for page in reversed(forward[:-1])]
    assert [page["next"] for page in backward] == [page["next"] for page in reversed(forward[:-1])]


@pytest.fixture(scope="module")
def equal_products(live_database: None) -> int:
    """The number of products, which all have the same creation time, price and name."""
    Product.objects.all().delete()
    Farm.objects.all().delete()
    count = 100_000
    farms = generator.farm_rows(1, 10)
    equal_values = {"created_at": generator.IMPORT_MOMENT, "price": "49.00", "name": "Mango"}
    rows = (
        tuple(equal_values.get(column, value) for column, value in zip(generator.PRODUCT_COLUMNS, row, strict=True))
        for row in generator.product_rows(1, count, farms)
    )
    with bulk_loader.connect() as raw:
        bulk_loader.load(raw, "products_farm", generator.FARM_COLUMNS, farms, lambda _: None)
        bulk_loader.load(raw, "products_product", generator.PRODUCT_COLUMNS, rows, lambda _: None)
    return count


@pytest.mark.parametrize("sort", ["-created_at", "price", "name"])
def test_walk_over_100000_equal_values_sees_each_once(client: Client, equal_products: int, sort: str) -> None:
    """Three sorts are enough: walking back along one is the same as walking its opposite."""
    url = f"/products?sort={sort}&limit=100&fields=name"
    forward = [(page["previous"], ids(page)) for page in walk(client, url, max_pages=1000)]
    pks = [pk for _, page in forward for pk in page]
    assert pks == sorted(pks, reverse=sort.startswith("-"))
    assert len(pks) == len(set(pks)) == equal_products
    backward = [ids(page) for page in walk(client, forward[-1][0], "previous", max_pages=1000)]
    assert backward == [page for _, page in reversed(forward[:-1])]


@pytest.mark.parametrize("sort", SORTS)
def test_walk_during_writes_sees_unchanged_products_once(
    client: Client, database_environment: dict[str, str], sort: str
) -> None:
    """Two processes insert, reprice, rename and withdraw products on both sides of the reader."""
    Product.objects.all().delete()
    rows = [{"name": f"n{n % 7}", "price": Decimal(n % 5 + 1), "created_at": DAY} for n in range(400)]
    unchanged = sorted(product.pk for product in make_offers(rows))
    make_offers(rows)
    with listing_writers(database_environment) as writers:
        options: dict[str, Any] = {"max_pages": 300, "during_each": writers.writing}
        forward = list(walk(client, f"/products?sort={sort}&limit=20", **options))
        backward = list(walk(client, forward[-1]["previous"], "previous", **options))
    for pages in (forward, [forward[-1], *backward]):
        assert sorted(pk for page in pages for pk in ids(page) if pk in unchanged) == unchanged
    assert Product.objects.filter(version__gt=1).exists()
    assert Product.objects.count() > 800
