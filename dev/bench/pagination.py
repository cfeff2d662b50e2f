"""dev/bench/run.sh pagination 1000000: a page in the middle of the catalogue, and DRF's walk over equal prices.

The page of GET /products is read by our statement, by the same statement without one of its parts, and by OFFSET.
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from decimal import Decimal
from typing import Any

from django.core.management import call_command
from django.db import connection
from rest_framework.generics import ListAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIRequestFactory

from dev.bench.figures import save, table
from dev.testing.databases import rows_read
from products.listing import plans, queries
from products.listing.listings import DEFAULT_SORT, Position
from products.listing.sources import PRODUCTS, Sql
from products.models import Product
from products.seeding import generator

COMMAND = "dev/bench/run.sh pagination 1000000"
REPEATS = 3
LIMIT = 25
INDEX = "FORCE INDEX (`product_created_at`)"
EXPANDED = "(p.created_at < %s OR (p.created_at = %s AND p.id < %s))"
NEWEST = "WHERE is_active = 1 ORDER BY created_at DESC, id DESC LIMIT %s OFFSET %s"


class Serializer(ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ("id",)


class Cheapest(CursorPagination):
    page_size = 100
    ordering = "price"


class EqualPrices(ListAPIView[Product]):
    queryset = Product.objects.listed().filter(price=Decimal(generator.SALE_PRICE))
    serializer_class = Serializer
    pagination_class = Cheapest
    authentication_classes = ()


def run(sql: Sql) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql.text, sql.params)
        return tuple(cursor.fetchall())


def statements(depth: int) -> dict[str, Sql]:
    """Each reads the page after so many products, newest first."""
    ((created_at, pk),) = run(Sql(f"SELECT created_at, id FROM {PRODUCTS} {INDEX} {NEWEST}", (1, depth)))
    after = Position(created_at.replace(tzinfo=dt.UTC), pk)
    plan = plans.without_conditions(DEFAULT_SORT.field)
    ours = queries._stream_statement(plan, DEFAULT_SORT, after, LIMIT + 1)
    value, _, *others = ours.params
    free = ours.text.replace(INDEX, "")
    rows = ours.text.replace(EXPANDED, "(p.created_at, p.id) < (%s, %s)")
    assert ours.text not in {free, rows}
    return {
        "ours": ours,
        "ours, but the optimizer chooses the index": Sql(free, ours.params),
        "ours, but with a row comparison": Sql(rows, (value, *others)),
        "`OFFSET`": Sql(f"SELECT * FROM {PRODUCTS} {NEWEST}", (LIMIT + 1, depth)),
    }


def measure(sql: Sql) -> tuple[str, str]:
    """Rows read, and the median of the milliseconds."""
    run(sql)  # warms up
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run(sql)
        times.append((time.perf_counter() - start) * 1000)
    return f"{rows_read(lambda: run(sql)):,}", f"{statistics.median(times):,.1f}"


def walk_with_drf() -> list[tuple[str, str]]:
    """Follow `next` until it repeats or ends."""
    view, requests = EqualPrices.as_view(), APIRequestFactory()
    url, urls, seen = "/products", set(), set()
    while url and url not in urls:
        urls.add(url)
        page = view(requests.get(url)).data
        seen |= {product["id"] for product in page["results"]}
        url = page["next"]
    return [
        ("products with this price", f"{EqualPrices.queryset.count():,}"),
        ("products that a walk sees", f"{len(seen):,}"),
        ("pages until the walk ends or repeats", f"{len(urls)}"),
        ("the last `next`", "is a page that it has seen" if url else "null"),
    ]


def main(rows: int) -> None:
    if rows:  # 0: keep the catalogue as it is
        call_command("migrate", verbosity=0)
        call_command("seed_products", rows, "--reset")
    depth = Product.objects.listed().count() // 2
    lines = [(name, *measure(sql)) for name, sql in statements(depth).items()]
    columns = (f"page after {depth:,} products", "rows read", "ms")
    print(table(columns, lines), flush=True)
    save("pagination", COMMAND, columns, lines)
    walk = walk_with_drf()
    head = ("CursorPagination among equal prices", "")
    print(table(head, walk))
    save("drf_cursor", COMMAND, head, walk)
