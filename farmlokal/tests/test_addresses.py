"""The edge finds a page by its address alone: the page of Django's own answer, or none."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from pytest_django.fixtures import Settings

from dev.testing.offers import make_offers
from farmlokal import request_state
from farmlokal.edge import forwarded
from farmlokal.edge.addresses import page_key_of
from farmlokal.edge.asgi_types import Response
from farmlokal.edge.request import EdgeRequest
from farmlokal.edge.wsgi_calls import call
from farmlokal.page_cache.pages import Served
from products import vocabulary
from products.listing.parameters import SORTS

pytestmark = pytest.mark.django_db

ADDRESSES = 1000
HOST = [(b"host", b"localhost")]
LONG = "1" * 60_000
HOSTS = [
    b"localhost",
    b"LOCALHOST",
    b"localhost:8000",
    b"testserver",
    b"testserver.",
    b"evil.example",
    b"",
    b"a b",
    b"[::1]",
]
PATHS = [
    "/products",
    "/products",
    "/products",
    "/categories",
    "/states",
    "/products/1",
    "/products/01",
    "/products/",
    "/Products",
]
VALUES: dict[str, list[str]] = {
    "sort": [*SORTS, "stock", ""],
    "limit": ["25", "10", "010", "0", "101", "+5", " 5"],
    "q": ["mango", "  Mango ", "caf\u00e9", "cafe\u0301", "\u0906\u092e", "a" * 101, "\x00", "%"],
    "category": ["fruits", "cereals", "FRUITS", "none"],
    "commodity": ["mango", "unknown"],
    "state": ["goa", "nowhere"],
    "farm": ["1", "001", "x"],
    "price_min": ["1", "1.0", "1.00", "-1", "1e1"],
    "price_max": ["45", "45.50", "0.5"],
    "organic": ["true", "True", "1"],
    "in_stock": ["false", "true"],
    "fields": ["name", "id,name", "name,name", "colour"],
    "ids": ["1,2", "2,1", "1,1", "x"],
    "cursor": ["x", "AAAA"],
    "colour": ["red"],
}


@pytest.fixture(autouse=True)
def _allow_hosts(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "testserver", "[::1]"]
    page_key_of.cache_clear()


@pytest.fixture(autouse=True)
def _keep_connection() -> Iterator[None]:
    """Django may close its connection around a request, which would end the transaction of the test."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


async def _unused(*_: Any) -> Any:
    raise AssertionError


def request_for(scope_parts: dict[str, Any], headers: list[tuple[bytes, bytes]]) -> EdgeRequest:
    scope = {
        "method": "GET",
        "http_version": "1.1",
        "scheme": "http",
        "raw_path": b"",
        "headers": headers,
        **scope_parts,
    }
    forwarded.apply(scope)
    return EdgeRequest(scope, _unused, _unused)


def by_django(request: EdgeRequest) -> tuple[Response, Served | None]:
    request_state.begin(request.scope)
    request.scope[request_state.KEY].is_counted = True
    response = call(WSGIHandler(), request.scope, b"")
    return response, request.scope[request_state.KEY].served


def is_unknown(response: Response) -> bool:
    """Django refused a slug, or found no such product. Nothing is stored then."""
    errors = json.loads(response.body).get("errors", [])
    slugs = {"category", "commodity", "state", "district"}
    return response.status == 404 or (response.status == 400 and {error["parameter"] for error in errors} <= slugs)


def random_query(rng: random.Random) -> bytes:
    pairs = []
    for name in rng.sample(list(VALUES), rng.choice((0, 1, 1, 2, 3))):
        for value in rng.choices(VALUES[name], k=rng.choice((1, 1, 1, 2))):
            spelled = rng.choice((quote, quote_plus))(value, safe=rng.choice(("", ",")))
            if rng.random() < 0.1:
                spelled = quote(value, encoding="latin1", errors="ignore")
            if rng.random() < 0.1:
                spelled = "".join(f"%{byte:02x}" for byte in value.encode())
            pairs.append(f"{name}={spelled}")
    separator = rng.choices(("&", "&&", ";"), (20, 1, 1))[0]
    return separator.join(pairs).encode() + rng.choices((b"", b"&", b"&q", b"%ff=1", b"%zz"), (20, 1, 1, 1, 1))[0]


def random_requests(rng: random.Random) -> Iterator[EdgeRequest]:
    for _ in range(ADDRESSES):
        headers = [(b"host", rng.choices(HOSTS, (8, 2, 2, 2, 1, 1, 1, 1, 1))[0])]
        if rng.random() < 0.1:
            headers.append(
                (b"content-type", rng.choice((b"text/plain; charset=latin-1", b"x; Charset=utf-16", b"a/b")))
            )
        parts = {"path": rng.choice(PATHS), "query_string": random_query(rng), "scheme": rng.choice(("http", "https"))}
        yield request_for(parts, headers)


def test_each_address_means_the_page_of_djangos_answer() -> None:
    make_offers([{"name": f"mango {n}"} for n in range(3)])
    found = set()
    for request in random_requests(random.Random(18)):
        response, served = by_django(request)
        if request.page_key:
            found.add(request.page_key)
            assert served.key == request.page_key if served else is_unknown(response), request.scope
        elif served:
            assert b"charset" in request.headers.get(b"content-type", b"").lower(), request.scope
    assert len(found) > ADDRESSES / 20


def test_forwarded_scheme_and_host_are_part_of_the_key(settings: Settings) -> None:
    settings.TRUSTED_PROXY_HOPS, settings.TRUST_FORWARDED_HOST = 1, True
    headers = [(b"host", b"localhost"), (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"testserver")]
    parts = {"path": "/products", "query_string": b""}
    behind, direct = request_for(parts, headers), request_for(parts, headers[:1])
    assert behind.page_key != direct.page_key
    for request in (behind, direct):
        _, served = by_django(request)
        assert served
        assert served.key == request.page_key


@pytest.mark.parametrize(
    "header", [(b"if-match", b'"x"'), (b"content-length", b"3"), (b"transfer-encoding", b"chunked")]
)
def test_request_that_django_must_see_has_no_page(header: tuple[bytes, bytes]) -> None:
    request = request_for({"path": "/products", "query_string": b""}, [(b"host", b"localhost"), header])
    assert request.page_key == ""


def test_underscores_in_a_header_do_not_hide_it_from_the_edge() -> None:
    """Django would read Content_Type as Content-Type, and the query in its charset."""
    headers = [(b"host", b"localhost"), (b"content_type", b"a/b; charset=utf-16le"), (b"if_match", b'"x"')]
    request = request_for({"path": "/products", "query_string": b"q=mango%20%20"}, headers)
    response, served = by_django(request)
    assert response.status == 200
    assert served
    assert served.key == request.page_key


@pytest.mark.parametrize("query", [b"category=!", b"state=!", b"category=unknown", b"sort=!", b"category=fruits"])
def test_key_needs_no_statement_in_a_new_process(query: bytes, django_assert_num_queries: Any) -> None:
    """The event loop could not send one. Most errors list the vocabulary."""
    vocabulary.reset()
    page_key_of.cache_clear()
    with django_assert_num_queries(0):
        assert bool(request_for({"path": "/products", "query_string": query}, HOST).page_key) == (b"!" not in query)


@pytest.mark.parametrize(
    ("path", "query", "host"),
    [("/products/" + LONG, "", "localhost"), ("/products", "q=" + LONG, "localhost"), ("/products", "", LONG)],
)
def test_long_address_is_left_to_django_and_not_kept(path: str, query: str, host: str) -> None:
    page_key_of.cache_clear()
    request = request_for({"path": path, "query_string": query.encode()}, [(b"host", host.encode())])
    assert request.page_key == ""
    assert page_key_of.cache_info().currsize == 0
