"""The product list of the admin: filters, sorts, pages and counts, in a catalogue whose matches are all old."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dev.testing.databases import rows_read
from dev.testing.skewed import make_skewed_catalogue
from dev.testing.walks import SORTS
from farmlokal.admin.keyset import KeysetList
from products.listing import statistics
from products.models import Farm, Product

pytestmark = [pytest.mark.usefixtures("live_database"), pytest.mark.django_db]

URL = "/admin/products/product/"
ROWS = 20_000

# Each filter as a condition of Django's ORM.
FILTERS: dict[str, Q] = {
    "q=zulu": Q(words__contains=" zulu "),
    "q=zul": Q(words__contains=" zul"),
    "q=zulu+tomato": Q(words__contains=" zulu ") & Q(words__contains=" tomato"),
    "category=fruits&category=spices": Q(category__slug__in=["fruits", "spices"]),
    "commodity=tomato": Q(commodity__slug="tomato"),
    "state=goa": Q(state__slug="goa"),
    "district=jaunpur": Q(district__slug="jaunpur"),
    "farm={farm}": Q(farm="{farm}"),
    "organic=true": Q(organic=True),
    "in_stock=false": Q(stock=0),
    "price_min=44&price_max=45": Q(price__range=(44, 45)),
    "farm={farm}&q=zulu&price_max=40": Q(farm="{farm}") & Q(words__contains=" zulu ") & Q(price__lte=40),
}
INDEXED = ["", "q=zulu", "commodity=tomato", "state=goa", "district=jaunpur", "farm={farm}", "withdrawn=true"]
BUDGET_READS = 60_000  # of the listing itself, see test_reads.py


@pytest.fixture(scope="module", autouse=True)
def catalogue(live_database: None) -> None:
    make_skewed_catalogue(ROWS)


@pytest.fixture
def farm() -> int:
    pk: int = Farm.objects.order_by("pk").values_list("pk", flat=True)[0]
    return pk


def open_list(client: Client, query: str, status: int = 200) -> KeysetList:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == status
    page: KeysetList = response.context["page"]
    return page


def walk(client: Client, query: str | None, link: str = "next") -> Iterator[KeysetList]:
    while query is not None:
        page = open_list(client, query)
        yield page
        query = getattr(page, link)


def ids(pages: Iterator[KeysetList] | list[KeysetList]) -> list[int]:
    return [product.pk for page in pages for product in page.rows]


def expected(name: str, farm: int, *, is_active: bool, order: tuple[str, ...] = ("-created_at", "-pk")) -> list[int]:
    def filled(condition: Any) -> Any:
        if isinstance(condition, Q):
            return Q(*map(filled, condition.children), _connector=condition.connector)
        field, value = condition
        return (field, farm if value == "{farm}" else value)

    found = Product.objects.filter(filled(FILTERS[name]), is_active=is_active)
    return list(found.order_by(*order).values_list("pk", flat=True))


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("name", FILTERS)
def test_filter_finds_the_same_products_as_the_orm(admin_client: Client, farm: int, name: str, is_active: bool) -> None:
    query = name.format(farm=farm) + ("" if is_active else "&withdrawn=true")
    pages = list(islice(walk(admin_client, query), 8))
    found, matches = ids(pages), expected(name, farm, is_active=is_active)
    assert found == (matches[: len(found)] if pages[-1].next else matches)


@pytest.mark.parametrize("sort", SORTS)
def test_walk_to_the_end_and_back_sees_each_product_once(admin_client: Client, sort: str) -> None:
    pk = sort.replace(sort.removeprefix("-"), "pk")
    for query in (f"sort={sort}&q=zulu", f"sort={sort}&withdrawn=true&q=zulu&limit=90"):
        forward = list(walk(admin_client, query))
        matches = Product.objects.filter(words__contains=" zulu ", is_active="withdrawn" not in query)
        assert ids(forward) == list(matches.order_by(sort, pk).values_list("pk", flat=True))
        backward = list(walk(admin_client, forward[-1].previous, "previous"))
        assert [ids([page]) for page in backward] == [ids([page]) for page in reversed(forward[:-1])]
        assert forward[-1].first is not None


def test_page_40_costs_what_page_1_costs(admin_client: Client) -> None:
    page = open_list(admin_client, "limit=100")
    for _ in range(39):
        assert page.next
        last, page = page.next, open_list(admin_client, page.next)
    assert len(page.rows) == 100
    assert rows_read(lambda: open_list(admin_client, last)) <= 10 * 100


def cost(client: Client, query: str) -> tuple[int, int]:
    """Statements and rows of one page, with those of session and user."""
    statistics.current()
    open_list(client, query)
    with CaptureQueriesContext(connection) as queries:
        reads = rows_read(lambda: open_list(client, query))
    return len([entry for entry in queries if "STATUS" not in entry["sql"]]), reads


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", INDEXED)
def test_index_ordered_list_reads_ten_rows_per_product(admin_client: Client, farm: int, name: str, sort: str) -> None:
    statements, reads = cost(admin_client, f"{name.format(farm=farm)}&sort={sort}")
    assert statements < 12
    assert reads <= 10 * 100


@pytest.mark.parametrize("name", FILTERS)
def test_any_list_stays_within_the_budget_of_the_listing(admin_client: Client, farm: int, name: str) -> None:
    for rest in ("", "&sort=price", "&withdrawn=true", "&sort=-name&withdrawn=true"):
        statements, reads = cost(admin_client, name.format(farm=farm) + rest)
        assert statements < 12
        assert reads <= BUDGET_READS


def test_list_joins_products_with_nothing_but_farms(admin_client: Client) -> None:
    open_list(admin_client, "")
    with CaptureQueriesContext(connection) as queries:
        open_list(admin_client, "commodity=tomato&sort=price")
    about_products = [entry["sql"] for entry in queries if "products_product" in entry["sql"]]
    assert len(about_products) == 2
    for sql in about_products:
        assert " JOIN" not in sql.replace("STRAIGHT_JOIN `products_farm`", "")
        assert "COUNT(" not in sql


def test_number_finds_the_product_with_that_id_first(admin_client: Client) -> None:
    withdrawn = Product.objects.filter(is_active=False)[0].pk
    assert ids([open_list(admin_client, f"q={withdrawn}")])[0] == withdrawn
    listed = Product.objects.listed()[0].pk
    assert ids([open_list(admin_client, f"q=+{listed}+")])[0] == listed
    assert ids([open_list(admin_client, f"q={'9' * 18}")]) == []
    assert ids([open_list(admin_client, f"q={'9' * 40}")]) == []


def test_tabs_views_and_chips_keep_the_rest_of_the_url(admin_client: Client) -> None:
    page = open_list(admin_client, "organic=true&sort=price&limit=10&category=fruits")
    assert [(tab.text, tab.query, tab.is_current) for tab in page.tabs] == [
        ("Listed", "category=fruits&organic=true&sort=price&limit=10", True),
        ("Withdrawn", "category=fruits&organic=true&withdrawn=true&sort=price&limit=10", False),
    ]
    assert [(chip.text, chip.query) for chip in page.chips] == [
        ("Category: Fruits", "organic=true&sort=price&limit=10"),
        ("Organic: yes", "category=fruits&sort=price&limit=10"),
    ]
    assert [view.text for view in open_list(admin_client, "organic=true").views if view.is_current] == ["Organic"]
    assert page.next
    assert page.next.startswith("category=fruits&organic=true&sort=price&cursor=")
    assert page.next.endswith("&limit=10")


def test_count_is_exact_for_few_and_estimated_for_many(admin_client: Client, farm: int) -> None:
    assert open_list(admin_client, "q=zulu+tomato").total.startswith(("exactly", "between", "about"))
    many = open_list(admin_client, "")
    assert re.fullmatch(r"about 1[6-8],000|about 19,000|about 20,000", many.total)
    assert "random sample" in many.total_help
    first = open_list(admin_client, f"farm={farm}&price_max=3")
    if first.next is None:
        assert first.total == f"exactly {len(first.rows)}"


BAD = {
    "sort=stock": "sort",
    "category=nope": "category",
    "state=nope": "state",
    "farm=abc": "farm",
    "price_min=cheap": "price_min",
    "price_min=9&price_max=8": "price_min",
    "organic=maybe": "organic",
    "in_stock=1": "in_stock",
    "q=" + "x" * 101: "q",
}


@pytest.mark.parametrize("query", BAD)
def test_bad_parameter_is_named_beside_its_field(admin_client: Client, query: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = open_list(admin_client, f"{query}&commodity=tomato", status=400)
    assert not [entry for entry in queries if "products_product" in entry["sql"]]
    assert list(page.form.errors) == [BAD[query]]
    assert list(page.rows) == []
    shown = admin_client.get(f"{URL}?{query}&commodity=tomato").content.decode()
    assert query.split("=")[1].split("&", maxsplit=1)[0] in shown
    assert '<option value="tomato" selected' in shown


@pytest.mark.parametrize(
    "query",
    [
        *("o=4", "e=1", "p=2", "all=1", "price__gt=1", "description__contains=x", "is_active__exact=1", "_facets=True"),
        *("cursor=abc", "limit=1000", "withdrawn=yes", "ids=1", "fields=id", "q=a&q=b", "q=%00"),
    ],
)
def test_unknown_or_bad_parameter_reads_no_product(admin_client: Client, query: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        page = open_list(admin_client, query, status=400)
    assert not [entry for entry in queries if "products_product" in entry["sql"]]
    assert query.split("=", maxsplit=1)[0] in " ".join(map(str, page.form.errors.values()))


def test_all_bad_parameters_are_named_at_once(admin_client: Client) -> None:
    page = open_list(admin_client, "price_min=x&organic=maybe&sort=stock&o=4&e=1", status=400)
    assert set(page.form.errors) == {"price_min", "organic", "sort", "__all__"}
    assert len(page.form.non_field_errors()) == 2
    assert page.is_drawer_open


def test_empty_fields_of_the_form_leave_the_url(admin_client: Client) -> None:
    response = admin_client.get(f"{URL}?q=&category=fruits&category=&price_min=+&sort=price")
    assert response.status_code == 302
    assert response["Location"] == f"{URL}?category=fruits&sort=price"
    assert admin_client.get(f"{URL}?q=")["Location"] == URL


def test_cursor_of_listed_products_does_not_open_withdrawn_ones(admin_client: Client) -> None:
    cursor = open_list(admin_client, "limit=10").next
    assert cursor
    assert open_list(admin_client, f"withdrawn=true&{cursor}", status=400).rows == ()
