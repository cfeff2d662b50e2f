"""A page reads the same number of rows at any depth, by the database server's own count."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dev.testing.databases import keys_read, one_mysql, rows_read
from dev.testing.walks import SORTS, forget_pages, get_page
from products.listing import statistics
from products.listing.cursors import Cursor, seal
from products.models import Product
from products.seeding import generator

pytestmark = [one_mysql, pytest.mark.usefixtures("live_database")]

ROWS = 200_000
LIMIT = 25


@pytest.fixture(scope="module", autouse=True)
def catalogue(live_database: None) -> None:
    call_command("seed_products", ROWS, "--reset")


def reads_of(client: Client, url: str) -> int:
    """Rows that the page's only statement reads."""
    forget_pages()
    statistics.current()  # takes a sample, unless there is one

    def read_page() -> None:
        with CaptureQueriesContext(connection) as queries:
            get_page(client, url)
        assert len(queries) == 1

    return rows_read(read_page)


def pages_of(client: Client, sort: str) -> dict[str, str]:
    """URLs by name: pages at the start, in the middle and at the end, and the pages before those."""
    first = f"/products?sort={sort}"
    opposite = sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"
    # The last page forward begins where the second page of the opposite order ends.
    field = sort.removeprefix("-")
    middle_row = Product.objects.order_by(sort, sort.replace(field, "pk"))[ROWS // 2]
    last_row = Product.objects.order_by(opposite, opposite.replace(field, "pk"))[LIMIT]
    urls = {"first": first}
    for name, row in {"middle": middle_row, "last": last_row}.items():
        urls[name] = url_after(sort, row)
        urls[f"before {name}"] = get_page(client, urls[name])["previous"]
    assert get_page(client, urls["last"])["next"] is None
    return urls


def url_after(sort: str, row: Product) -> str:
    value = str(getattr(row, sort.removeprefix("-")))
    return f"/products?sort={sort}&cursor=" + seal(
        Cursor(backward=False, value=value, pk=row.pk), ["products.product", sort, ""]
    )


@pytest.mark.parametrize("sort", SORTS)
def test_page_reads_at_most_three_rows_per_product(client: Client, sort: str) -> None:
    reads = {name: reads_of(client, url) for name, url in pages_of(client, sort).items()}
    assert max(reads.values()) <= 3 * LIMIT, reads


def test_page_among_equal_values_reads_no_more_rows(client: Client) -> None:
    blocks = {
        "price": Product.objects.filter(price=generator.SALE_PRICE),
        "created_at": Product.objects.filter(created_at=generator.IMPORT_MOMENT + "+00:00"),
        "name": Product.objects.filter(name="Tomato, Grade A"),
    }
    for field, block in blocks.items():
        count = block.count()
        assert count > 500
        row = block.order_by("pk")[count // 2]
        for sort in (field, f"-{field}"):
            url = url_after(sort, row)
            assert reads_of(client, url) <= 3 * LIMIT
            assert reads_of(client, get_page(client, url)["previous"]) <= 3 * LIMIT


SINGLE = [
    *("category=vegetables", "commodity=tomato", "state=uttar-pradesh", "district=jaunpur", "organic=true"),
    *("q=tomato", "q=grade", "q=jaunpur", "q=b", "q=man", "category=fruits&category=spices&category=pulses"),
]


@pytest.mark.parametrize("sort", SORTS)
def test_page_of_one_filter_or_word_reads_few_rows(client: Client, sort: str) -> None:
    """Five rows per product if one index gives the order; more if lists are merged or products are checked."""
    reads = {}
    for query in SINGLE:
        url = f"/products?sort={sort}&{query}"
        get_page(client, url)
        reads[query] = reads_of(client, url)
        deep = get_page(client, f"{url}&limit=100")["next"]
        reads[f"{query}, page 2"] = reads_of(client, deep.replace("&limit=100", "")) if deep else 0
    is_merged = ("q=man", "category=fruits&", "organic")
    indexed = {query: count for query, count in reads.items() if not query.startswith(is_merged)}
    assert max(indexed.values()) <= 5 * LIMIT, indexed
    assert max(reads.values()) <= 20_000, reads


@pytest.mark.parametrize("sort", ["-created_at", "name"])
def test_price_range_in_another_order_looks_up_only_products_within_it(client: Client, sort: str) -> None:
    """With the price in the index: about one of twenty products that the page passes is in this range."""
    url = f"/products?sort={sort}&price_min=40&price_max=45"
    get_page(client, url)
    forget_pages()
    lookups = keys_read(lambda: get_page(client, url))
    assert lookups <= 3 * LIMIT, lookups


def test_rare_combination_reads_a_bounded_number_of_rows(client: Client) -> None:
    """Frequent words that never occur together, and large lists with an empty filter."""
    for query in (
        "q=nadu%20assam",
        "q=nadu%20sikkim%20grade",
        "category=vegetables&price_min=99999",
        "q=tomato%20mango",
    ):
        for sort in SORTS:
            assert reads_of(client, f"/products?sort={sort}&{query}") <= 60_000, (query, sort)


def test_page_is_one_statement_on_the_expected_index(client: Client) -> None:
    statements = {
        "": "FROM `products_product` p FORCE INDEX (`product_created_at`) STRAIGHT_JOIN `products_farm`",
        "state=goa&sort=price": "FROM `products_product` p FORCE INDEX (`product_state_price`) STRAIGHT_JOIN",
        "q=tomato&sort=name": "FROM `products_posting` t FORCE INDEX (`posting_name`) STRAIGHT_JOIN `products_product`",
        "q=tomato%20b&state=goa&organic=true": "d LEFT JOIN `products_product` p ON p.id = d.id AND ",
        "price_min=40&price_max=41&sort=name": "FROM `products_product` p FORCE INDEX (`product_price`)",
    }
    for query, expected in statements.items():
        get_page(client, f"/products?{query}")
        forget_pages()
        with CaptureQueriesContext(connection) as queries:
            page = get_page(client, f"/products?{query}")
            if page["next"]:
                get_page(client, page["next"])
        assert len(queries) == (2 if page["next"] else 1), query
        assert expected in queries[0]["sql"], query


def test_withdrawn_products_are_not_read(client: Client) -> None:
    newest = Product.objects.order_by("-created_at").values_list("created_at", flat=True)[50_000]
    Product.objects.filter(created_at__gt=newest).update(is_active=False)
    assert reads_of(client, "/products") <= 3 * LIMIT
