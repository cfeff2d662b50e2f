"""POST, PATCH and DELETE of products: their effects and answers, and conditional writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from dev.testing.offers import make_farm, make_offer
from dev.testing.staff import patch_product, post_product, product_body
from products.models import Product

pytestmark = pytest.mark.django_db


def test_post_creates_and_returns_the_product(staff: Client) -> None:
    farm = make_farm(district="erode")
    members = {"description": "Sun-dried.", "variety": "Erode Local", "unit": "quintal", "stock": 7, "organic": True}
    response = post_product(
        staff, product_body(farm=farm.pk, name="Erode Turmeric", commodity="turmeric", price="210.5", **members)
    )
    assert response.status_code == 201
    document = response.json()
    assert response["Location"] == f"http://testserver/products/{document['id']}"
    assert response["Cache-Control"] == "no-store"
    read = staff.get(response["Location"])
    assert read.content == response.content
    assert read["ETag"] == response["ETag"]
    assert document | {"id": 0, "created_at": "", "updated_at": ""} == {
        "id": 0,
        "name": "Erode Turmeric",
        "slug": "erode-turmeric",
        "description": "Sun-dried.",
        "category": {"slug": "spices", "name": "Spices"},
        "commodity": {"slug": "turmeric", "name": "Turmeric"},
        "variety": "Erode Local",
        "grade": "A",
        "farm": {"id": farm.pk, "name": farm.name},
        "district": {"slug": "erode", "name": "Erode"},
        "state": {"slug": "tamil-nadu", "name": "Tamil Nadu"},
        "price": "210.50",
        "currency": "INR",
        "unit": "quintal",
        "stock": 7,
        "in_stock": True,
        "organic": True,
        "created_at": "",
        "updated_at": "",
    }


def test_omitted_members_have_defaults(staff: Client) -> None:
    document = post_product(staff, product_body()).json()
    members = ("description", "variety", "unit", "stock", "in_stock", "organic")
    assert [document[name] for name in members] == ["", "", "kg", 0, False, False]


def test_patch_changes_only_its_members(staff: Client) -> None:
    product = make_offer(stock=10)
    response = patch_product(staff, product, {"price": "45", "commodity": "onion"})
    assert response.status_code == 200
    document = response.json()
    assert (document["price"], document["stock"]) == ("45.00", 10)
    assert document["category"]["slug"] == "vegetables"
    assert response["Cache-Control"] == "no-store"
    read = staff.get(f"/products/{product.pk}")
    assert (read.content, read["ETag"]) == (response.content, response["ETag"])


@pytest.mark.parametrize("body", [{}, {"stock": 10}, {"price": "120.00", "name": "  Alphonso Mango, Grade A "}])
def test_patch_with_equal_values_keeps_the_version(staff: Client, body: dict[str, Any]) -> None:
    product = make_offer()
    before = staff.get(f"/products/{product.pk}")
    response = patch_product(staff, product, body)
    assert (response.status_code, response.content) == (200, before.content)
    assert Product.objects.get().version == 1


def test_delete_withdraws_the_product(staff: Client) -> None:
    product = make_offer()
    response = staff.delete(f"/products/{product.pk}")
    assert (response.status_code, response.content) == (204, b"")
    assert response["Cache-Control"] == "no-store"
    assert not Product.objects.get().is_active
    assert staff.get("/products").json()["results"] == []
    for again in (staff.delete(f"/products/{product.pk}"), patch_product(staff, product, {"stock": 1})):
        assert (again.status_code, again.json()["code"]) == (404, "not-found")
    assert Product.objects.get().version == 2


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_if_match_of_another_version_refuses_a_write(staff: Client, method: str) -> None:
    product = make_offer()
    url = f"/products/{product.pk}"
    etag = staff.get(url)["ETag"]

    def write(if_match: str) -> HttpResponse:
        body = '{"stock": 99}' if method == "PATCH" else ""
        headers = {"If-Match": if_match}
        return staff.generic(method, url, body, "application/json", headers=headers)  # type: ignore[return-value]

    for header in (f"W/{etag}", '"other"', f'W/{etag}, "other"'):
        assert write(header).status_code == 412
    refused = write('"other"')
    assert json.loads(refused.content)["code"] == "precondition-failed"
    for header in ("", "x", f"{etag}x", f"*, {etag}"):
        malformed = write(header)
        assert malformed.status_code == 400
        assert json.loads(malformed.content)["errors"][0]["header"] == "If-Match"
    assert Product.objects.get().version == 1
    assert write(f'"other", {etag}').status_code in {200, 204}
    assert Product.objects.get().version == 2
    assert write(etag).status_code == (412 if method == "PATCH" else 404)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_matching_if_none_match_refuses_a_write(staff: Client, method: str) -> None:
    product = make_offer()
    url = f"/products/{product.pk}"
    etag = staff.get(url)["ETag"]

    def write(url: str = url, **conditions: str) -> HttpResponse:
        body = '{"stock": 99}' if method == "PATCH" else ""
        headers = {name.replace("_", "-"): value for name, value in conditions.items()}
        return staff.generic(method, url, body, "application/json", headers=headers)  # type: ignore[return-value]

    for header in ("*", etag, f"W/{etag}", f'"other", {etag}'):
        refused = write(If_None_Match=header)
        assert (refused.status_code, json.loads(refused.content)["code"]) == (412, "precondition-failed")
    for if_match in ("*", '"other"'):
        malformed = write(If_Match=if_match, If_None_Match="x")
        assert json.loads(malformed.content)["errors"][0]["header"] == "If-None-Match"
    assert b"If-Match" in write(If_Match='"other"', If_None_Match="*").content
    assert b"If-None-Match" in write(If_Match=etag, If_None_Match="*").content
    assert write("/products/1234567890123", If_None_Match="*").status_code == 404
    assert Product.objects.get().version == 1
    assert write(If_Match=etag, If_None_Match='"other"').status_code in {200, 204}


def test_if_match_star_allows_any_existing_product(staff: Client) -> None:
    product = make_offer()
    assert patch_product(staff, product, {"stock": 1}, **{"If-Match": "*"}).status_code == 200
    assert staff.delete("/products/1234567890123", headers={"If-Match": "*"}).status_code == 404


@pytest.mark.parametrize("pk", ["0", "999999999999999999", "9" * 19, "abc"])
def test_write_to_an_unknown_product_is_404(staff: Client, pk: str) -> None:
    assert staff.patch(f"/products/{pk}", {"stock": 1}, "application/json").status_code == 404
    assert staff.delete(f"/products/{pk}").status_code == 404
