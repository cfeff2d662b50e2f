"""The parameters of the listing: their values, their effect, and their spelling in links."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from dev.testing.offers import make_farm, make_offer, make_offers
from products import vocabulary
from products.models import Category

pytestmark = pytest.mark.django_db


def names(client: Client, query: str) -> list[str]:
    response = client.get(f"/products?{query}")
    assert response.status_code == 200, response.content
    return sorted(product["name"] for product in response.json()["results"])


def test_each_filter_selects_matching_products(client: Client) -> None:
    erode = make_farm("Nair Farm", "erode")
    make_offers(
        [
            {"name": "mango", "price": Decimal("10.00"), "organic": True, "stock": 3},
            {"name": "ripe", "farm": erode, "price": Decimal("10.01")},
        ]
    )
    for query, expected in {
        "category=fruits&category=spices": ["mango", "ripe"],
        "category=spices": [],
        "commodity=mango&state=tamil-nadu": ["ripe"],
        "district=erode": ["ripe"],
        f"farm={erode.pk}": ["ripe"],
        "farm=000000000000000000": [],
        "farm=999999999999999999": [],
        "price_min=10": ["mango", "ripe"],
        "price_min=10.01": ["ripe"],
        "price_max=10.0": ["mango"],
        "price_min=10.00&price_max=10": ["mango"],
        "organic=true": ["mango"],
        "in_stock=false": ["ripe"],
        "q=MÄNGO": ["mango", "ripe"],
        "q=nair": ["ripe"],
        "q=nai": ["ripe"],
        "q=na": [],
        "q=nai%20mango": [],
        "q=tamil%20nadu%20ripe": ["ripe"],
        "q=%20%20ripe%20": ["ripe"],
        "commodity=unknown": [],
        "district=Erode": [],
        "q=%2B%2B": [],
        "q=%F0%9F%A5%AD": [],
        "q=%00": [],
    }.items():
        assert names(client, query) == expected, query


def test_empty_catalogue_gives_an_empty_page(client: Client) -> None:
    assert names(client, "category=fruits&q=mango&price_min=1&organic=true&sort=name") == []


def test_one_letter_words_are_searched(client: Client) -> None:
    make_offers([{"name": "Grade A plums"}, {"name": "Grade B plums"}])
    assert names(client, "q=plums%20a") == ["Grade A plums"]


def test_names_and_queries_are_normalised_alike(client: Client) -> None:
    make_offers({"name": name} for name in ["Organic\u200bTomato", "क्\u200dषीर", "\u0958लम", "Pack of २५"])
    for query, expected in {
        "tomato": ["Organic\u200bTomato"],
        "organic tomato": ["Organic\u200bTomato"],
        "organic\u200btoma": ["Organic\u200bTomato"],
        "organictomato": [],
        "क्षीर": ["क्\u200dषीर"],
        "क्\u200cषी": ["क्\u200dषीर"],
        "क\u093cलम": ["\u0958लम"],
        "25": ["Pack of २५"],
        "२५": ["Pack of २५"],
        "\u200b": [],
    }.items():
        assert names(client, f"q={quote(query)}") == expected, query


INVALID_QUERIES = {
    "limit=0": "limit",
    "limit=101": "limit",
    "limit=": "limit",
    "limit=-1": "limit",
    "limit=%2B5": "limit",
    "limit=1.0": "limit",
    "limit=5%20": "limit",
    "limit=%EF%BC%95": "limit",
    "limit=" + "9" * 4000: "limit",
    "limit=5&limit=5": "limit",
    "sort=": "sort",
    "sort=id": "sort",
    "sort=--name": "sort",
    "sort=name,price": "sort",
    "sort=name&sort=name": "sort",
    "sort=name%00": "sort",
    "cursor=a&cursor=a": "cursor",
    "category=": "category",
    "category=unknown": "category",
    "category=Fruits": "category",
    "category=" + "&category=".join(["fruits"] * 6): "category",
    "category=fruits&category=%00": "category",
    "state=nowhere": "state",
    "state=goa&state=goa": "state",
    "commodity=": "commodity",
    "commodity=man%20go": "commodity",
    "commodity=%C3%A4": "commodity",
    "commodity=" + "a" * 121: "commodity",
    "district=a'b": "district",
    "farm=": "farm",
    "farm=-1": "farm",
    "farm=1.0": "farm",
    "farm=1234567890123456789": "farm",
    "farm=%D9%A1": "farm",
    "price_min=": "price_min",
    "price_min=.5": "price_min",
    "price_min=1e3": "price_min",
    "price_min=-1": "price_min",
    "price_min=1.234": "price_min",
    "price_min=123456789": "price_min",
    "price_min=NaN": "price_min",
    "price_max=%EF%BC%95": "price_max",
    "price_max=1,5": "price_max",
    "price_min=2&price_max=1.99": "price_min",
    "organic=1": "organic",
    "organic=True": "organic",
    "organic=": "organic",
    "in_stock=yes": "in_stock",
    "q=": "q",
    "q=%20%09%E3%80%80": "q",
    "q=" + "a" * 101: "q",
    "q=a&q=b": "q",
    "fields=": "fields",
    "fields=name,": "fields",
    "fields=Name": "fields",
    "fields=name&fields=": "fields",
    "fields=name&fields=Name": "fields",
    "ids=": "ids",
    "ids=1,": "ids",
    "ids=1,a": "ids",
    "ids=-1": "ids",
    "ids=" + ",".join(["1"] * 101): "ids",
    "ids=1&limit=5": "limit",
    "ids=1&sort=name": "sort",
    "ids=1&cursor=x": "cursor",
    "ids=1&q=mango": "q",
    "ids=1&organic=true": "organic",
    "ids=1&ids=": "ids",
    "ids=1&ids=a": "ids",
    "&".join(["ids=1"] * 101): "ids",
    "ids=" + ",".join(["1"] * 50) + "&ids=1" * 51: "ids",
    "ids=1&ids=2&limit=5": "limit",
    "is_active=false": "is_active",
    "price=5": "price",
    "page=2": "page",
    "Limit=5": "Limit",
    "%00=1": "\0",
    "format=json": "format",
}


@pytest.mark.parametrize("query", INVALID_QUERIES)
def test_invalid_value_is_400_and_names_its_parameter(client: Client, query: str) -> None:
    response = client.get(f"/products?{query}")
    problem: dict[str, Any] = response.json()
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert problem["code"] == "invalid-parameter"
    assert problem["errors"][0]["parameter"] == INVALID_QUERIES[query]
    assert problem["instance"] == "/products"


def test_all_errors_are_reported_with_the_allowed_values(client: Client) -> None:
    errors = client.get("/products?category=x&organic=1&price_min=a").json()["errors"]
    assert {error["parameter"] for error in errors} == {"category", "organic", "price_min"}
    (category,) = (error for error in errors if error["parameter"] == "category")
    assert "spices" in category["allowed"]


def test_new_category_is_accepted_at_once(client: Client) -> None:
    assert client.get("/products?category=herbs").status_code == 400
    Category.objects.create(name="Herbs", slug="herbs")
    assert names(client, "category=herbs") == []
    vocabulary.reset()


def next_query(client: Client, query: str) -> list[tuple[str, str]]:
    url = client.get(f"/products?{query}").json()["next"]
    return [pair for pair in parse_qsl(urlsplit(url).query) if pair[0] != "cursor"]


def test_links_have_a_canonical_query(client: Client) -> None:
    make_offers({"name": f"Mango {n}"} for n in range(9))
    query = "in_stock=false&limit=2&price_max=0099.5&q=%20MANGO%20%20M%C3%84N%20&category=spices&category=fruits"
    assert next_query(client, f"{query}&sort=-created_at&fields=price,id,name&category=fruits") == [
        ("q", "mango man"),
        ("category", "fruits"),
        ("category", "spices"),
        ("price_max", "99.50"),
        ("in_stock", "false"),
        ("limit", "2"),
        ("fields", "id,name,price"),
    ]


def test_cursor_is_bound_to_the_meaning_of_the_filters(client: Client) -> None:
    make_offers({"name": f"Mango {n}"} for n in range(9))

    def cursor(query: str) -> Any:
        return dict(parse_qsl(urlsplit(client.get(f"/products?{query}").json()["next"]).query))["cursor"]

    assert cursor("q=Mango&price_min=1&limit=2") == cursor("price_min=1.00&q=%20mango&limit=2&fields=name")
    assert cursor("q=mango&limit=2") != cursor("limit=2")
    answer = client.get(f"/products?q=mang&cursor={cursor('q=mango&limit=2')}")
    assert answer.json()["code"] == "cursor-invalid"


def test_query_that_grows_when_folded_still_has_a_next_page(client: Client) -> None:
    long = "ﷺ" * 40
    make_offers({"name": long} for n in range(3))
    page = client.get(f"/products?limit=2&q={quote(long)}").json()
    assert client.get(page["next"]).json()["results"]


def test_only_the_requested_fields_are_returned(client: Client) -> None:
    make_offer()
    (product,) = client.get("/products?fields=farm,price").json()["results"]
    assert list(product) == ["id", "farm", "price"]


@pytest.mark.parametrize("query", ["fields=farm&fields=price", "fields=price&fields=farm,price"])
def test_fields_parameter_may_be_repeated(client: Client, query: str) -> None:
    make_offers({"name": f"Mango {n}"} for n in range(3))
    page = client.get(f"/products?limit=2&{query}").json()
    assert list(page["results"][0]) == ["id", "farm", "price"]
    assert next_query(client, f"limit=2&{query}") == [("limit", "2"), ("fields", "id,farm,price")]


def test_ids_return_products_in_that_order_and_missing_ids(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first, second, gone = make_offers([{"name": "a"}, {"name": "b"}, {"name": "c", "is_active": False}])
    client.get(f"/products?ids={first.pk}")
    with django_assert_num_queries(1):
        page: dict[str, Any] = client.get(
            f"/products?ids={second.pk},{gone.pk},{first.pk},999999999999999999,{second.pk}&fields=name"
        ).json()
    assert page == {
        "next": None,
        "previous": None,
        "results": [{"id": second.pk, "name": "b"}, {"id": first.pk, "name": "a"}],
        "missing": [gone.pk, 999999999999999999],
    }


@pytest.mark.parametrize("query", ["ids={0}&ids={1}&ids={2}", "ids={0},{1}&ids={2}", "ids={0}&ids={1},{0},{2}"])
def test_ids_parameter_may_be_repeated(client: Client, query: str) -> None:
    pks = [product.pk for product in make_offers([{"name": "a"}, {"name": "b"}, {"name": "c"}])][::-1]
    page = client.get(f"/products?{query.format(*pks)}").json()
    assert [product["id"] for product in page["results"]] == pks


def test_ids_parameter_may_be_repeated_100_times(client: Client) -> None:
    assert client.get("/products?" + "&".join(f"ids={pk}" for pk in range(100))).status_code == 200


def test_categories_and_states_are_listed_with_their_children(client: Client) -> None:
    categories = client.get("/categories").json()["results"]
    spices = next(entry for entry in categories if entry["slug"] == "spices")
    assert spices["name"] == "Spices"
    assert {"slug": "turmeric", "name": "Turmeric"} in spices["commodities"]
    states = client.get("/states").json()["results"]
    assert [entry["slug"] for entry in states] == sorted(entry["slug"] for entry in states)
    assert {"slug": "north-goa", "name": "North Goa"} in next(s for s in states if s["slug"] == "goa")["districts"]
    assert client.get("/states?x=1").status_code == 400
    assert client.post("/states").status_code == 405
    assert client.get("/states/").status_code == 404
