"""GET /products: the fields of a product, sorting, page sizes, links and errors."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from dev.testing.offers import make_farm, make_offer, make_offers
from products.models import Product

pytestmark = pytest.mark.django_db


def names(client: Client, query: str) -> list[str]:
    return [product["name"] for product in client.get(f"/products{query}").json()["results"]]


def test_product_has_the_fields_of_the_contract(client: Client) -> None:
    moment = dt.datetime(2026, 1, 31, 14, 0, 0, 250, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
    product = make_offer(
        name="Alphonso Mango, Grade A",
        description="From the Konkan coast.",
        variety="Alphonso",
        price=Decimal(45),
        unit="dozen",
        stock=0,
        organic=True,
        created_at=moment,
        updated_at=moment,
    )

    response = client.get("/products")

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.json() == {
        "next": None,
        "previous": None,
        "results": [
            {
                "id": product.pk,
                "name": "Alphonso Mango, Grade A",
                "slug": "alphonso-mango-grade-a",
                "description": "From the Konkan coast.",
                "category": {"slug": "fruits", "name": "Fruits"},
                "commodity": {"slug": "mango", "name": "Mango"},
                "variety": "Alphonso",
                "grade": "A",
                "farm": {"id": product.farm_id, "name": "Patil Farm, Ratnagiri"},
                "district": {"slug": "ratnagiri", "name": "Ratnagiri"},
                "state": {"slug": "maharashtra", "name": "Maharashtra"},
                "price": "45.00",
                "currency": "INR",
                "unit": "dozen",
                "stock": 0,
                "in_stock": False,
                "organic": True,
                "created_at": "2026-01-31T08:30:00.000250Z",
                "updated_at": "2026-01-31T08:30:00.000250Z",
            }
        ],
    }


def test_page_is_one_statement(client: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for _ in range(3):
        make_offer(farm=make_farm())
    client.get("/products")  # loads the vocabulary

    with django_assert_num_queries(1):
        page = client.get("/products?limit=2").json()
    with django_assert_num_queries(1):
        client.get(page["next"])


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", "dcba"),
        ("-created_at", "dcba"),
        ("created_at", "abcd"),
        ("price", "bdac"),
        ("-price", "cadb"),
        ("name", "acbd"),
        ("-name", "dbca"),
    ],
)
def test_every_sort_breaks_ties_by_id_in_its_direction(client: Client, sort: str, order: str) -> None:
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    rows = {
        "a": {"name": "Äpple", "price": Decimal("9.50"), "created_at": day},
        "b": {"name": "banana", "price": Decimal("2.00"), "created_at": day},
        "c": {"name": "APPLE", "price": Decimal("10.00"), "created_at": day},
        "d": {"name": "Banana", "price": Decimal("2.00"), "created_at": day + dt.timedelta(microseconds=1)},
    }
    products = dict(zip(rows, make_offers(rows.values()), strict=True))

    page = client.get("/products", {"sort": sort} if sort else {}).json()["results"]

    assert [product["id"] for product in page] == [products[key].pk for key in order]


def test_withdrawn_products_are_not_listed(client: Client) -> None:
    make_offers([{"name": "listed"}, {"name": "withdrawn", "is_active": False}])
    assert names(client, "") == ["listed"]


def test_limit_defaults_to_25(client: Client) -> None:
    make_offers({"name": f"{n:03}"} for n in range(120))
    assert len(names(client, "")) == 25
    assert len(names(client, "?limit=1")) == 1
    assert len(names(client, "?limit=100")) == 100
    assert len(names(client, "?limit=0007")) == 7


def test_links_are_absolute_and_omit_default_parameters(client: Client) -> None:
    make_offers({"name": f"{n}"} for n in range(9))

    response = client.get("/products?limit=3&sort=name")
    page = response.json()
    url = urlsplit(page["next"])

    assert (url.scheme, url.netloc, url.path) == ("http", "testserver", "/products")
    assert [name for name, _ in parse_qsl(url.query)] == ["sort", "limit", "cursor"]
    assert response["Link"] == f'<{page["next"]}>; rel="next"'
    middle = client.get(page["next"])
    assert middle["Link"] == f'<{middle.json()["next"]}>; rel="next", <{middle.json()["previous"]}>; rel="previous"'
    defaults = client.get("/products?limit=3&sort=-created_at").json()["next"]
    assert [name for name, _ in parse_qsl(urlsplit(defaults).query)] == ["limit", "cursor"]


def test_equal_positions_have_equal_cursors_with_any_limit(client: Client) -> None:
    make_offers({"name": f"{n}"} for n in range(9))

    def cursor(query: str) -> Any:
        return dict(parse_qsl(urlsplit(client.get(f"/products{query}").json()["next"]).query))["cursor"]

    third = cursor("?sort=name&limit=3")
    assert third == cursor("?sort=name&limit=3") == cursor(f"?sort=name&limit=1&cursor={cursor('?sort=name&limit=2')}")
    assert names(client, f"?sort=name&limit=2&cursor={third}") == ["3", "4"]


def test_page_whose_products_were_all_withdrawn_has_links(client: Client) -> None:
    products = make_offers({"name": f"{n}"} for n in range(6))
    second = client.get("/products?sort=name&limit=3").json()["next"]
    first = client.get(second).json()["previous"]
    Product.objects.filter(pk__in=[p.pk for p in products[3:]]).update(is_active=False)

    empty = client.get(second).json()
    assert empty["results"] == []
    assert empty["next"] is None
    assert [p["name"] for p in client.get(empty["previous"]).json()["results"]] == ["0", "1", "2"]

    Product.objects.update(is_active=True)
    Product.objects.filter(pk__in=[p.pk for p in products[:3]]).update(is_active=False)
    empty = client.get(first).json()
    assert empty["results"] == []
    assert empty["previous"] is None
    assert [p["name"] for p in client.get(empty["next"]).json()["results"]] == ["3", "4", "5"]


def test_error_lists_the_allowed_values(client: Client) -> None:
    sorts = ["created_at", "-created_at", "price", "-price", "name", "-name"]
    assert client.get("/products?sort=x").json()["errors"][0]["allowed"] == sorts
    assert "limit" in client.get("/products?pages=1").json()["errors"][0]["allowed"]


def test_accept_is_ignored_and_a_trailing_slash_is_404(client: Client) -> None:
    assert client.get("/products", headers={"Accept": "text/html"})["Content-Type"] == "application/json"
    assert client.get("/products/").status_code == 404


def test_head_has_the_length_of_get(client: Client) -> None:
    make_offer()
    full, head = client.get("/products"), client.head("/products")
    assert head.status_code == 200
    assert head.content == b""
    assert head["Content-Length"] == full["Content-Length"]
