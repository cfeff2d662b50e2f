"""GET /products/{id}: one product, its ETag, and what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.testing.offers import make_offer
from dev.testing.staff import make_staff
from farmlokal.http.conditional import (
    ANY,
    check_if_match,
    check_if_none_match,
    condition_in,
    etag_of,
    is_not_modified,
    tags_in,
)
from farmlokal.http.problems import Problem
from products.models import Commodity, Product

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db

TAG = '"0123456789abcdef"'


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
    client.get(url)  # the names come with the first read
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


@pytest.mark.parametrize("header", ["*", " * ", TAG, f"W/{TAG}", f',{TAG}, , "\xe9,",', '""'])
def test_valid_condition_headers_are_parsed(header: str) -> None:
    assert tags_in(header)


@pytest.mark.parametrize(
    "header", ["", ",", "**", "x", '"', '"a', "w/" + TAG, 'W/ "a"', '"a b"', f"{TAG}{TAG}", f"*,{TAG}"]
)
def test_invalid_condition_headers_are_refused(header: str) -> None:
    with pytest.raises(ValueError, match="list of entity tags"):
        tags_in(header)
    assert not is_not_modified(header, TAG)


def test_if_match_compares_strongly() -> None:
    for tags in ([ANY], [TAG], ['"a"', TAG], None):
        check_if_match(tags, TAG)
    for tags, etag in (([f"W/{TAG}"], TAG), (['"a"'], TAG), ([f"W/{TAG}"], f"W/{TAG}"), ([TAG], f"W/{TAG}")):
        with pytest.raises(Problem, match="If-Match"):
            check_if_match(tags, etag)


def test_if_none_match_compares_weakly() -> None:
    check_if_none_match(['"a"', 'W/"b"'], TAG)
    for tags in ([ANY], [TAG], [f"W/{TAG}"]):
        with pytest.raises(Problem, match="If-None-Match"):
            check_if_none_match(tags, TAG)


def test_error_of_a_malformed_condition_names_its_header() -> None:
    assert condition_in({"If-Match": TAG}, "If-None-Match") is None
    with pytest.raises(Problem) as refused:
        condition_in({"If-Match": "a"}, "If-Match")
    assert (refused.value.code, refused.value.errors[0]["header"]) == ("bad-request", "If-Match")
