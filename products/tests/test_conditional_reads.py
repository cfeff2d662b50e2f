"""ETag, If-Match, If-None-Match and compression of cached reads, with and without Redis."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from dev.testing.jobs import finish
from dev.testing.offers import make_offer
from dev.testing.redis_keys import forget_keys, shared_redis
from dev.testing.servers import Daemon
from farmlokal.jobs.models import Job
from farmlokal.page_cache import cache
from farmlokal.redis import client as redis_module
from products import services
from products.catalogue_cache import catalogue_cache
from products.models import Category, Product

pytestmark = pytest.mark.usefixtures("live_database")

READS = ["/products", "/products?q=mango&limit=3", "/products?fields=name", "/categories", "/states"]


@pytest.fixture(autouse=True)
def product(live_database: None) -> Iterator[Product]:
    forget_keys()
    redis_module.Outages.end()
    product = make_offer()
    yield product
    product.delete()


def get_and_count_queries(client: Client, url: str, **headers: str) -> tuple[Any, int]:
    with CaptureQueriesContext(connection) as queries:
        response = client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return response, len(queries)


@pytest.mark.parametrize("url", READS)
def test_304_of_a_cached_page_needs_no_query(client: Client, url: str) -> None:
    first = client.get(url)
    assert first["ETag"].startswith('"')
    assert first["Cache-Control"] == "public, max-age=30, stale-while-revalidate=60, stale-if-error=600"
    assert first["Vary"] == "Accept-Encoding"
    for tag in (first["ETag"], f"W/{first['ETag']}", f'"other", {first["ETag"]}', "*"):
        response, queries = get_and_count_queries(client, url, If_None_Match=tag)
        assert (response.status_code, queries, response.content) == (304, 0, b"")
        assert response["ETag"] == first["ETag"]
        assert "Content-Length" not in response
    assert client.get(url, headers={"If-None-Match": '"other"'}).content == first.content


def test_304_of_a_cached_product_needs_no_query(client: Client, product: Product) -> None:
    etag = client.get(f"/products/{product.pk}")["ETag"]
    response, queries = get_and_count_queries(client, f"/products/{product.pk}", If_None_Match=etag)
    assert (response.status_code, queries) == (304, 0)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("url", [*READS, "/products?ids={pk}", "/products/{pk}", "/openapi.json"])
def test_if_match_is_checked_before_if_none_match(client: Client, product: Product, url: str, method: str) -> None:
    url = url.format(pk=product.pk)
    etag = client.get(url)["ETag"]

    def status(**headers: str) -> int:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.generic(method, url, headers=names).status_code

    assert [status(If_Match=tags) for tags in (etag, "*", f'"nope", {etag}')] == [200, 200, 200]
    assert [status(If_Match=tags) for tags in ('"nope"', f"W/{etag}")] == [412, 412]
    assert [status(If_Match=tags) for tags in ("", "nope", f"*, {etag}")] == [400, 400, 400]
    assert [status(If_Match=tag, If_None_Match=etag) for tag in (etag, '"nope"')] == [304, 412]


def test_failed_if_match_is_an_uncached_problem(client: Client) -> None:
    response = client.get("/products", headers={"If-Match": '"nope"'})
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    assert response.json()["code"] == "precondition-failed"


def test_if_match_never_matches_the_weak_tag_of_a_gzip_page(client: Client) -> None:
    etag = client.get("/products")["ETag"]
    for tag in (etag, f"W/{etag}"):
        assert client.get("/products", headers={"Accept-Encoding": "gzip", "If-Match": tag}).status_code == 412
    assert client.get("/products", headers={"Accept-Encoding": "gzip", "If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("tag", ["*", '"nope"', "nope"])
@pytest.mark.parametrize(("url", "status"), [("/products/999999999", 404), ("/products?limit=0", 400)])
def test_other_errors_come_before_a_failed_if_match(client: Client, url: str, status: int, tag: str) -> None:
    assert client.get(url, headers={"If-Match": tag}).status_code == status


def test_next_request_sees_any_write(client: Client, product: Product) -> None:
    def etag(url: str) -> str:
        value: str = client.get(url)["ETag"]
        return value

    urls = ["/products", "/products?q=mango", "/categories"]
    before = [etag(url) for url in urls]
    services.change(product.pk, price=product.price + 1)
    assert client.get("/products", headers={"If-None-Match": before[0]}).status_code == 200
    fruits = Category.objects.get(slug="fruits")
    fruits.name = "Fruit"
    fruits.save()
    after = [etag(url) for url in urls]
    assert all(old != new for old, new in zip(before, after, strict=True))
    fruits.name = "Fruits"
    fruits.save()
    product.refresh_from_db()
    product.farm.name = "Another Farm"
    product.farm.save()
    assert client.get("/products?q=mango", headers={"If-None-Match": after[1]}).status_code == 200
    finish(Job.objects.latest("pk"))
    assert client.get("/products?q=another").json()["results"]
    services.withdraw(product.pk)
    assert client.get("/products?q=another").json()["results"] == []


def test_unrelated_write_keeps_the_etag_of_a_page(client: Client, product: Product) -> None:
    etag = client.get(f"/products?ids={product.pk}")["ETag"]
    make_offer(name="Another").delete()
    response, queries = get_and_count_queries(client, f"/products?ids={product.pk}", If_None_Match=etag)
    assert (response.status_code, queries) == (304, 1)


def test_cache_is_bypassed_while_a_write_is_announced(client: Client, product: Product) -> None:
    """Its writer may have committed and died before it could tell Redis."""
    etag = client.get("/products")["ETag"]
    keys = [catalogue_cache.generation_key, catalogue_cache.writers_key]
    redis_module.run(cache.ANNOUNCE, keys, [0, "died", cache.ANNOUNCED_SECONDS])
    Product.objects.filter(pk=product.pk).update(name="Changed")
    response, queries = get_and_count_queries(client, "/products", If_None_Match=etag)
    assert (response.status_code, response["X-Cache"], queries) == (200, "bypass", 1)
    with shared_redis() as raw_client:
        raw_client.zadd(catalogue_cache.writers_key, {"died": 0})  # the announcement expires
    assert [client.get("/products")["X-Cache"] for _ in range(2)] == ["miss", "hit"]


def test_without_redis_the_etag_is_the_same_but_needs_a_query(client: Client, settings: Settings) -> None:
    etag = client.get("/products")["ETag"]
    unreachable = urlsplit(os.environ["REDIS_URL"])._replace(netloc="127.0.0.1:1").geturl()
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": unreachable}}
    response, queries = get_and_count_queries(client, "/products", If_None_Match=etag)
    assert (response.status_code, queries) == (304, 1)
    services.withdraw(make_offer(name="While Redis is away").pk)
    redis_module.Outages.end()


def test_write_during_a_redis_hang_is_seen_after_it(client: Client, product: Product, redis_alone: Daemon) -> None:
    """The writing process already knows that Redis hangs, and does not try to tell it."""
    etag = client.get("/products")["ETag"]
    assert client.get("/products", headers={"If-None-Match": etag}).status_code == 304
    redis_alone.freeze()
    assert client.get("/products?limit=3").status_code == 200
    services.change(product.pk, price=product.price + 1)
    redis_alone.thaw()
    redis_module.Outages.end()
    assert client.get("/products", headers={"If-None-Match": etag}).status_code == 200


def test_write_without_redis_is_seen_once_redis_is_back(client: Client, settings: Settings, product: Product) -> None:
    etag = client.get("/products")["ETag"]
    caches = settings.CACHES
    unreachable = urlsplit(os.environ["REDIS_URL"])._replace(netloc="127.0.0.1:1").geturl()
    settings.CACHES = {"default": caches["default"] | {"LOCATION": unreachable}}
    services.change(product.pk, price=product.price + 1)
    settings.CACHES = caches
    redis_module.Outages.end()
    assert client.get("/products", headers={"If-None-Match": etag}).status_code == 200


def test_gzip_page_has_the_weak_form_of_the_etag(client: Client) -> None:
    plain = client.get("/products")
    packed = client.get("/products", headers={"Accept-Encoding": "br, gzip"})
    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert packed["ETag"] == f"W/{plain['ETag']}"
    assert packed["Content-Length"] == str(len(packed.content))
    for tag in (packed["ETag"], plain["ETag"]):
        response = client.get("/products", headers={"Accept-Encoding": "gzip", "If-None-Match": tag})
        assert (response.status_code, response["ETag"]) == (304, packed["ETag"])
    head = client.head("/products", headers={"Accept-Encoding": "gzip"})
    assert (head["ETag"], head["Content-Length"], head.content) == (packed["ETag"], packed["Content-Length"], b"")
    assert "Content-Encoding" not in client.get("/products", headers={"Accept-Encoding": "gzip;q=0"})


def test_product_is_never_compressed_so_its_etag_stays_strong(client: Client, product: Product) -> None:
    response = client.get(f"/products/{product.pk}", headers={"Accept-Encoding": "gzip"})
    assert json.loads(response.content)["id"] == product.pk
    assert response["ETag"].startswith('"')
