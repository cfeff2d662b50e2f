"""Scripts of any origin may read the public API; scripts of listed origins may also write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dev.testing.offers import make_offers
from dev.testing.redis_keys import forget_keys
from dev.testing.servers import Answer, Server, running

pytestmark = pytest.mark.usefixtures("live_database")

SHOP, OTHER = "https://shop.example", "https://evil.example"
EXPOSED = {
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
    "X-Cache",
}


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    make_offers({"name": f"n{n}"} for n in range(5))
    with running(database_environment, CORS_ALLOWED_ORIGINS=f"http://localhost:3000,{SHOP}") as started:
        yield started


def assert_open(answer: Answer) -> None:
    assert answer.headers["access-control-allow-origin"] == "*", answer
    assert set(answer.headers["access-control-expose-headers"].split(", ")) == EXPOSED
    assert "access-control-allow-credentials" not in answer.headers
    assert "origin" not in answer.headers.get("vary", "").lower()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [{}, {"Origin": OTHER}, {"Origin": "null"}])
@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/products?limit=2", 200),
        ("/products?limit=x", 400),
        ("/products/999999999", 404),
        ("/categories", 200),
        ("/states", 200),
        ("/openapi.json", 200),
        ("/products/999999999/delivery-quote?pincode=560001", 404),
    ],
)
def test_public_reads_are_open_to_every_origin(
    server: Server, target: str, status: int, headers: dict[str, str], method: str
) -> None:
    for _ in range(2):
        answer = server.request(target, method, **headers)
        assert answer.status == status
        assert_open(answer)


def test_hit_304_and_401_are_open(server: Server) -> None:
    etag = server.request("/products?limit=3").headers["etag"]
    assert_open(server.request("/products?limit=3", Origin=SHOP))
    unchanged = server.request("/products?limit=3", Origin=SHOP, If_None_Match=etag)
    assert unchanged.status == 304
    assert_open(unchanged)
    refused = server.request("/products?limit=3", Origin=SHOP, Authorization="Bearer x")
    assert refused.status == 401
    assert_open(refused)


def preflight(server: Server, target: str, method: str, origin: str) -> Answer:
    return server.request(target, "OPTIONS", Origin=origin, Access_Control_Request_Method=method)


@pytest.mark.parametrize(
    "target", ["/products", "/products/1", "/products/1/delivery-quote", "/states", "/openapi.json"]
)
def test_preflight_of_a_read_allows_every_origin(server: Server, target: str) -> None:
    answer = preflight(server, target, "GET", OTHER)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD"
    assert {"If-None-Match", "Authorization"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_preflight_of_a_write_allows_listed_origins_only(server: Server, method: str) -> None:
    allowed = preflight(server, "/products/1", method, SHOP)
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == SHOP
    assert method in allowed.headers["access-control-allow-methods"].split(", ")
    assert {"Authorization", "Content-Type", "Idempotency-Key", "If-Match"} <= set(
        allowed.headers["access-control-allow-headers"].split(", ")
    )
    for origin in (OTHER, f"{SHOP}.evil.example", "null", f"{SHOP}/", ""):
        refused = preflight(server, "/products/1", method, origin)
        assert "access-control-allow-origin" not in refused.headers, origin


def test_answer_to_a_write_names_the_listed_origin(server: Server) -> None:
    allowed = server.request("/products", "POST", Origin=SHOP)
    assert allowed.status == 401
    assert allowed.headers["access-control-allow-origin"] == SHOP
    assert "Origin" in allowed.headers["vary"]
    refused = server.request("/products", "POST", Origin=OTHER)
    assert "access-control-allow-origin" not in refused.headers
    assert "Origin" in refused.headers["vary"]


@pytest.mark.parametrize("target", ["/admin/login/", "/livez", "/metrics", "/docs", "/webhooks/partner"])
def test_other_routes_are_closed_to_other_origins(server: Server, target: str) -> None:
    assert "access-control-allow-origin" not in server.request(target, Origin=SHOP).headers
    assert "access-control-allow-origin" not in preflight(server, target, "GET", SHOP).headers


def test_preflight_is_counted_and_needs_no_database(database_environment: dict[str, str]) -> None:
    away = "mysql://farmlokal:secret@127.0.0.1:1/farmlokal"
    forget_keys()  # calls of other tests count too
    with running(database_environment, RATE_LIMIT_ANONYMOUS="2/60", DATABASE_URL=away) as strict:
        answers = [preflight(strict, "/products?cors", "GET", SHOP) for _ in range(3)]
        assert [answer.status for answer in answers] == [204, 204, 429]
        assert answers[0].headers["ratelimit"].startswith('"anonymous";r=1;')
        limited = strict.request("/products?cors", Origin=SHOP)
        assert limited.status == 429
        assert_open(limited)


def test_503_is_open(database_environment: dict[str, str]) -> None:
    with running(database_environment, DATABASE_URL="mysql://farmlokal:secret@127.0.0.1:1/farmlokal") as away:
        answer = away.request("/products?price_max=1.19", Origin=SHOP)
        assert answer.status == 503
        assert_open(answer)
