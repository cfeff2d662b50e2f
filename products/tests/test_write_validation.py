"""POST and PATCH refuse invalid members, bodies, media types and parameters, and name the error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from dev.testing.offers import make_offer
from dev.testing.staff import patch_product, post_product, product_body
from products.models import Product
from products.serializers import NewProductSerializer, ProductChangeSerializer

pytestmark = pytest.mark.django_db

MAX_INTEGER = 2**31 - 1


def pointers(response: Any) -> set[str]:
    assert response.status_code == 400, response.content
    assert response.json()["code"] == "invalid-parameter"
    return {error["pointer"] for error in response.json()["errors"]}


INVALID_MEMBERS: list[tuple[str, list[Any]]] = [
    ("name", ["", "   ", None, 5, True, ["x"], {}, "x" * 201, "a\0b", "\ud800", "!!!", "🥭", "__"]),
    ("description", [None, 5, "x" * 10_001, "a\0b", "a\udfff"]),
    ("commodity", ["", None, 5, "no-such", "Mango", "mango\0", "\ud800", "m" * 121, ["mango"], "mango'--"]),
    ("variety", [None, 1.5, "x" * 101, "\0"]),
    ("grade", ["", None, "D", "a", "AA", 1, ["A"], True, "\ud800"]),
    ("farm", [None, "1", 0, -1, 2**63, 10**40, 1.0, True, [1], {"id": 1}]),
    ("price", ["", None, 45, 45.0, "0", "0.00", "0.001", "45.001", "-1", "+1", " 45", "45 ", "1e2", "NaN", "Infinity"]),
    ("price", ["100000000", "1,5", "٤٥", "45.", ".5", True, ["45"], "9" * 5000, "45\n"]),
    ("unit", ["", None, "ton", "KG", 1]),
    ("stock", [None, "5", -1, MAX_INTEGER + 1, 10**40, 1.0, 1e3, True, [5]]),
    ("organic", [None, "true", 1, 0, "yes", [], "\ud800"]),
    ("price/currency~", ["INR"]),
    ("is_active", [False]),
    ("id", [1]),
    ("\ud800\0", [1]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID_MEMBERS for value in values])
def test_invalid_member_is_400_and_named(staff: Client, name: str, value: Any) -> None:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1").replace("\ud800", "?")
    assert pointers(post_product(staff, product_body(**{name: value}))) == {pointer}
    product = make_offer()
    assert pointers(patch_product(staff, product, {name: value})) == {pointer}
    assert Product.objects.get().version == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("price", price) for price in ["0.01", "1", "00000045.5", "99999999.99"]),
        *(("stock", stock) for stock in [0, MAX_INTEGER]),
        *(("name", name) for name in ["x" * 200, "हापुस आम", "7", "🥭 Mango", "'; DROP TABLE"]),
        *(("description", text) for text in ["", "x" * 10_000, "🥭\n\t"]),
    ],
)
def test_extreme_values_are_accepted(staff: Client, name: str, value: Any) -> None:
    response = post_product(staff, product_body(**{name: value}))
    assert response.status_code == 201, response.content


def test_all_errors_are_reported_with_the_allowed_values(staff: Client) -> None:
    response = post_product(staff, {"name": "", "grade": "D", "colour": "red", "stock": -1})
    assert pointers(response) == {"/name", "/grade", "/colour", "/stock", "/commodity", "/farm", "/price"}
    errors = {error["pointer"]: error for error in response.json()["errors"]}
    assert errors["/grade"]["allowed"] == ["A", "B", "C"]
    assert "price" in errors["/colour"]["allowed"]
    assert errors["/farm"]["detail"] == "is required."
    assert errors["/stock"]["detail"] == "must be 0 or more."


def test_repeated_member_is_400(staff: Client) -> None:
    body = json.dumps(product_body())[:-1] + ', "price": "1", "price": "2"}'
    assert pointers(post_product(staff, body)) == {"/price"}


def test_a_thousand_unknown_members_get_a_short_answer(staff: Client) -> None:
    response = post_product(staff, {"x" * 500 + str(n): n for n in range(1000)})
    assert response.status_code == 400
    assert len(response.content) < 10_000


@pytest.mark.parametrize("body", ["[]", "null", "5", '"x"', "true", "[{}]"])
def test_body_that_is_not_an_object_is_400(staff: Client, body: str) -> None:
    assert pointers(post_product(staff, body)) == {""}


@pytest.mark.parametrize(
    "body",
    [
        *("", " ", "{", "{}{}", "{'a': 1}", '{"price": NaN}', '{"price": -Infinity}', "\ufeff{}", "[" * 100_000),
        *('{"stock": ' + "9" * 5000 + "}", b'{"name": "\xff"}', json.dumps({}).encode("utf-16"), '{"name": "a\nb"}'),
    ],
)
def test_malformed_json_is_400(staff: Client, body: str | bytes) -> None:
    response = post_product(staff, body)
    assert (response.status_code, response.json()["code"]) == (400, "bad-request")
    assert "sys." not in response.json()["detail"]


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_other_media_types_are_415(staff: Client, media_type: str) -> None:
    product = make_offer()
    for response in (
        staff.generic("POST", "/products", json.dumps(product_body()), media_type),
        staff.generic("PATCH", f"/products/{product.pk}", "{}", media_type),
        staff.generic("PATCH", f"/products/{product.pk}", "", media_type),
    ):
        assert (response.status_code, json.loads(response.content)["code"]) == (415, "unsupported-media-type")
    assert post_product(staff, product_body()).status_code == 201
    other_case = staff.generic("POST", "/products", json.dumps(product_body()), "Application/JSON ;charset=UTF-8")
    assert other_case.status_code == 201


def test_query_parameters_are_400(staff: Client) -> None:
    product = make_offer()
    url = f"/products/{product.pk}?dry_run=1"
    answers = [
        staff.generic("POST", "/products?dry_run=1", json.dumps(product_body()), "application/json"),
        staff.generic("PATCH", url, "{}", "application/json"),
        staff.delete(url),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert Product.objects.get().is_active


def test_derived_fields_in_the_body_are_400(staff: Client) -> None:
    for name in ("category", "district", "state", "slug", "version", "created_at"):
        assert pointers(post_product(staff, product_body(**{name: "fruits"}))) == {f"/{name}"}


def test_fields_are_built_once_for_each_class() -> None:
    first, second, change = (
        NewProductSerializer(data={}),
        NewProductSerializer(data={}),
        ProductChangeSerializer(data={}),
    )
    assert first.fields is second.fields
    assert (first.fields["name"].required, change.fields["name"].required) == (True, False)
