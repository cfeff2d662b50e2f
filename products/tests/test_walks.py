"""Walking `next` to the end sees each product once and ends; `previous` gives the same pages back."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.testing.offers import make_offers
from dev.testing.walks import SORTS, ids, walk
from products.models import Farm, Product
from products.seeding import bulk_loader, generator

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.usefixtures("live_database")

DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
KEYS = {"created_at": lambda p: p.created_at, "price": lambda p: p.price, "name": lambda p: p.name}

# Few values, so that most of them are shared.
offers = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["amla", "bael", "citron"]),
        "price": st.sampled_from([Decimal("1.00"), Decimal("2.50"), Decimal("10.00")]),
        "created_at": st.sampled_from([DAY, DAY + dt.timedelta(microseconds=1), DAY + dt.timedelta(days=1)]),
        "is_active": st.sampled_from([True, True, True, False]),
    }
)


def in_order(products: list[Product], sort: str) -> list[int]:
    field = sort.removeprefix("-")
    listed = [product for product in products if product.is_active]
    return [p.pk for p in sorted(listed, key=lambda p: (KEYS[field](p), p.pk), reverse=sort.startswith("-"))]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(offers, max_size=20), sort=st.sampled_from(SORTS), limit=st.integers(1, 12))
def test_previous_links_give_the_same_pages_as_next_links(
    client: Client, rows: list[dict[str, Any]], sort: str, limit: int
) -> None:
    Product.objects.all()._raw_delete(using="default")
    products = make_offers(rows)

    there = list(walk(client, f"/products?sort={sort}&limit={limit}", at_most=22))

    assert [pk for page in there for pk in ids(page)] == in_order(products, sort)
    assert all(len(ids(page)) == limit for page in there[:-1])
    assert there[0]["previous"] is None
    back = list(walk(client, there[-1]["previous"], "previous", at_most=22))
    assert [ids(page) for page in back] == [ids(page) for page in reversed(there[:-1])]
    assert [page["next"] for page in back] == [page["next"] for page in reversed(there[:-1])]


@pytest.fixture(scope="module")
def equal_offers(live_database: None) -> int:
    """100,000 products that share their moment, price and name."""
    Product.objects.all()._raw_delete(using="default")
    Farm.objects.all().delete()
    count = 100_000
    farms = generator.farm_rows(1, 10)
    same = {"created_at": generator.IMPORT_MOMENT, "price": "49.00", "name": "Mango"}
    rows = (
        tuple(same.get(column, value) for column, value in zip(generator.PRODUCT_COLUMNS, row, strict=True))
        for row in generator.product_rows(1, count, farms)
    )
    with bulk_loader.bulk_connection() as raw:
        bulk_loader.load(raw, "products_farm", generator.FARM_COLUMNS, farms, lambda _: None)
        bulk_loader.load(raw, "products_product", generator.PRODUCT_COLUMNS, rows, lambda _: None)
    return count


@pytest.mark.parametrize("sort", ["-created_at", "price", "name"])
def test_walk_over_100000_equal_values_sees_each_once(client: Client, equal_offers: int, sort: str) -> None:
    """The way back of each sort is the way there of its opposite: three walks show all six."""
    there = [(page["previous"], ids(page)) for page in walk(client, f"/products?sort={sort}&limit=100", at_most=1000)]
    seen = [pk for _, page in there for pk in page]
    assert seen == sorted(seen, reverse=sort.startswith("-"))
    assert len(seen) == len(set(seen)) == equal_offers
    back = [ids(page) for page in walk(client, there[-1][0], "previous", at_most=1000)]
    assert back == [page for _, page in reversed(there[:-1])]


@pytest.mark.parametrize("sort", SORTS)
def test_walk_during_writes_sees_unchanged_products_once(
    client: Client, database_environment: dict[str, str], sort: str
) -> None:
    """Two processes insert, reprice, rename and withdraw on both sides of the reader all along; whatever they
    leave alone is seen exactly once."""
    Product.objects.all().delete()
    untouched = make_offers({"name": f"n{n % 7}", "price": Decimal(n % 5 + 1), "created_at": DAY} for n in range(400))
    make_offers({"name": f"n{n % 7}", "price": Decimal(n % 5 + 1), "created_at": DAY} for n in range(400))
    others = [
        subprocess.Popen(
            [sys.executable, "-m", "dev.testing.listing_writer", str(seed)],
            env=database_environment,
            stdout=subprocess.PIPE,
        )
        for seed in range(2)
    ]
    try:
        for other in others:
            assert other.stdout
            assert other.stdout.readline() == b"writing\n"
        kept = {product.pk for product in untouched}
        for _ in range(3):
            there = list(walk(client, f"/products?sort={sort}&limit=20", at_most=2000))
            back = list(walk(client, there[-1]["previous"], "previous", at_most=2000))
            for pages in (there, [there[-1], *back]):
                seen = [pk for page in pages for pk in ids(page)]
                assert sorted(pk for pk in seen if pk in kept) == sorted(kept)
        assert all(other.poll() is None for other in others), "the writers stopped too early to disturb anyone"
    finally:
        for other in others:
            other.kill()
            other.communicate()
    assert Product.objects.filter(version__gt=1).exists()
