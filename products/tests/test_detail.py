"""GET /products/{id}: one product and its ETag; 404 for any other id."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from dev.testing.offers import make_offer
from dev.testing.staff import make_staff
from farmlokal.http.conditional import etag_of
from products.models import Commodity, Product

pytestmark = pytest.mark.django_db


def test_product_equals_its_entry_in_the_listing(client: Client) -> None:
    product = make_offer(description="From the Konkan coast: ₹, é, 🥭")
    response = client.get(f"/products/{product.pk}")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response["Cache-Control"] == "no-cache"
    assert response.json() == client.get("/products").json()["results"][0]


def test_etag_is_strong_and_depends_on_the_bytes(client: Client) -> None:
    product = make_offer()
    url = f"/products/{product.pk}"
    first = client.get(url)
    assert first["ETag"] == etag_of(first.content) == client.get(url)["ETag"]
    assert first["ETag"].startswith('"')
    Commodity.objects.get(slug="mango").save()
    assert client.get(url)["ETag"] == first["ETag"]
    mango = Commodity.objects.get(slug="mango")
    mango.name = "Aam"
    mango.save()
    assert client.get(url)["ETag"] != first["ETag"], "the document names the commodity"


def test_matching_if_none_match_is_304(client: Client) -> None:
    url = f"/products/{make_offer().pk}"
    etag = client.get(url)["ETag"]
    for header in (etag, f"W/{etag}", "*", f'"other", {etag}', f'W/"a,b" ,,{etag}'):
        response = client.get(url, headers={"If-None-Match": header})
        assert response.status_code == 304, header
        assert response.content == b""
        assert response["ETag"] == etag
        assert response["Cache-Control"] == "no-cache"
        assert "Content-Length" not in response
        assert client.head(url, headers={"If-None-Match": header}).status_code == 304
    for header in ('"other"', etag.strip('"'), f"{etag} {etag}", "", f"*, {etag}"):
        assert client.get(url, headers={"If-None-Match": header}).status_code == 200, header


def test_read_is_one_statement_even_with_a_session(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    url = f"/products/{make_offer().pk}"
    client.force_login(make_staff())
    client.get(url)  # loads the vocabulary
    with django_assert_num_queries(1):
        response = client.get(url)
    assert "Vary" not in response
    assert not response.cookies


def test_head_has_the_headers_of_get(client: Client) -> None:
    url = f"/products/{make_offer().pk}"
    full, head = client.get(url), client.head(url)
    assert head.content == b""
    assert {name: head[name] for name in full.headers if name != "X-Request-ID"} == {
        name: value for name, value in full.headers.items() if name != "X-Request-ID"
    }


def test_options_lists_the_methods_and_others_are_405(client: Client) -> None:
    url = f"/products/{make_offer().pk}"
    assert client.options(url)["Allow"] == "GET, PATCH, DELETE, HEAD, OPTIONS"
    assert client.options("/products")["Allow"] == "GET, POST, HEAD, OPTIONS"
    for response in (client.put(url), client.post(url), client.delete("/products")):
        assert response.status_code == 405
        assert response.json()["code"] == "method-not-allowed"


@pytest.mark.parametrize(
    "path",
    [
        "0",
        "999999999999999999",
        "9" * 19,
        "9" * 4000,
        "9" * 5000,
        "-1",
        "1.0",
        "abc",
        "%D9%A1",
        "1%0A",
        "%00",
        "1/",
        "{}/",
        "{}%20",
    ],
)
def test_unknown_or_malformed_id_is_404(client: Client, path: str) -> None:
    product = make_offer()
    for method in ("GET", "HEAD"):
        response = client.generic(method, f"/products/{path.format(product.pk)}")
        assert response.status_code == 404
    assert client.get(f"/products/{path.format(product.pk)}").json()["code"] == "not-found"


def test_withdrawn_product_is_404(client: Client) -> None:
    product = make_offer()
    Product.objects.update(is_active=False)
    assert client.get(f"/products/{product.pk}").status_code == 404
    assert client.get(f"/products/{product.pk}", headers={"If-None-Match": "*"}).status_code == 404


@pytest.mark.parametrize("query", ["fields=id", "x=1", "%00=1", "limit=5"])
def test_any_query_parameter_is_400(client: Client, query: str) -> None:
    response = client.get(f"/products/{make_offer().pk}?{query}")
    assert response.status_code == 400
    assert response.json()["code"] == "invalid-parameter"
