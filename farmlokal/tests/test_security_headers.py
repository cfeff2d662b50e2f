"""Every kind of answer has the security headers of its kind: from Django, the edge, WhiteNoise and the HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from dev.testing.files import start_export
from dev.testing.jobs import finish
from dev.testing.offers import make_offer
from dev.testing.servers import Answer, Server, running
from dev.testing.staff import session_headers

LIMIT = 5
CSP = "content-security-policy"
ALL = {"x-content-type-options": "nosniff", "x-frame-options": "DENY"}
DATA = ALL | {CSP: "default-src 'none'; frame-ancestors 'none'"}
OURS = DATA | {"cross-origin-resource-policy": "same-origin"}
PUBLIC = DATA | {"cross-origin-resource-policy": "cross-origin"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PAGE = ALL | {
    CSP: POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
}
SWAGGER = PAGE | {CSP: POLICY.replace("img-src 'self'", "img-src 'self' data:")}
HASHES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "  # of nothing
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
)
REDOC = PAGE | {
    CSP: SWAGGER[CSP].replace("style-src 'self'", f"style-src 'self' {HASHES}") + "; worker-src blob:",
}
HSTS = "strict-transport-security"
NAMES = {*PUBLIC, *PAGE, HSTS}
LARGE_FILE = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"

addresses = (f"203.0.113.{n}" for n in count())  # each has a rate limit of its own


class Site:
    """A running service behind a proxy, with a product, an export, and a session of a superuser."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.product = make_offer().pk
        self.export = finish(start_export()).pk
        self.session = session_headers(User.objects.create_superuser("asha"))

    def ask(self, target: str, scheme: str, **headers: str) -> Answer:
        target = target.format(product=self.product, export=self.export)
        method, _, path = target.rpartition(" ")
        headers = {"X_Forwarded_Proto": scheme, "X_Forwarded_For": next(addresses)} | headers
        return self.server.request(path, method or "GET", **headers)


@pytest.fixture(scope="module")
def site(live_database: None, database_environment: dict[str, str]) -> Iterator[Site]:
    environment = database_environment | {"METRICS_TOKEN": "secret", "RATE_LIMIT_ANONYMOUS": f"{LIMIT}/60"}
    with running(environment, WEB_CONCURRENCY="1", TRUSTED_PROXY_HOPS="1") as server:
        yield Site(server)


def shown(answer: Answer) -> dict[str, str]:
    assert "server" not in answer.headers
    return {name: value for name, value in answer.headers.items() if name in NAMES}


SESSION = {"session": "yes"}
PREFLIGHT = {"Origin": "https://shop.example", "Access_Control_Request_Method": "GET"}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("target", "headers", "status", "expected"),
    [
        # the public API
        ("/products?limit=1", {}, 200, PUBLIC),
        ("/products?limit=1", {"Accept_Encoding": "gzip"}, 200, PUBLIC),
        ("/products?limit=1", {"If_None_Match": "*"}, 304, PUBLIC),
        ("HEAD /products?limit=1", {}, 200, PUBLIC),
        ("/products/{product}", {}, 200, PUBLIC),
        ("/categories", {"If_Match": '"x"'}, 412, PUBLIC),
        ("/openapi.json", {}, 200, PUBLIC),
        ("OPTIONS /products", {}, 200, PUBLIC),
        ("OPTIONS /products", PREFLIGHT, 204, PUBLIC),
        ("OPTIONS /openapi.json", PREFLIGHT, 204, PUBLIC),
        ("/products?limit=0", {}, 400, PUBLIC),
        ("/products?q=" + "x" * 20_000, {}, 414, PUBLIC),
        ("POST /products", {}, 401, PUBLIC),
        ("/products/0", {}, 404, PUBLIC),
        ("PUT /products", {}, 405, PUBLIC),
        ("/products", {"host": "evil.example"}, 400, PUBLIC),
        ("/products/{product}/delivery-quote?pincode=560001", {}, 503, PUBLIC),
        # other data
        ("POST /webhooks/partner", {}, 401, OURS),
        ("/livez", {}, 200, OURS),
        ("/readyz", {}, 200, OURS),
        ("/metrics", {}, 401, OURS),
        ("/metrics", {"Authorization": "Bearer secret"}, 200, OURS),
        ("/nothing", {}, 404, OURS),
        ("/static/farmlokal/home.css", {}, 200, OURS),
        ("/static/farmlokal/home.css", {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 304, OURS),
        ("/static/farmlokal/nothing.css", {}, 404, OURS),
        ("POST /static/farmlokal/home.css", {}, 405, OURS),
        (LARGE_FILE, {}, 200, OURS),
        ("/admin/products/product/export/{export}/csv/", SESSION, 200, OURS),
        ("/admin/products/product/export/{export}/xlsx/", SESSION, 200, OURS),
        # pages, and redirects, to which Django gives the type of a page
        ("/", {}, 200, PAGE),
        ("/docs", {}, 200, SWAGGER),
        ("/redoc", {}, 200, REDOC),
        ("/favicon.ico", {}, 302, PAGE),
        ("/admin", {}, 302, PAGE),
        ("/admin/", {}, 302, PAGE),
        ("/admin/login/", {}, 200, PAGE),
        ("/admin/", SESSION, 200, PAGE),
        ("/admin/nothing/", SESSION | {"Accept": "text/html"}, 404, PAGE),
    ],
)
def test_answer_has_the_headers_of_its_kind(
    site: Site, scheme: str, target: str, headers: dict[str, str], status: int, expected: dict[str, str]
) -> None:
    if "session" in headers:
        headers = headers | site.session
    answer = site.ask(target, scheme, **headers)
    assert answer.status == status
    hsts = {HSTS: "max-age=31536000"} if scheme == "https" else {}
    assert shown(answer) == expected | hsts


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_429_has_the_headers_of_the_api(site: Site, scheme: str) -> None:
    address = next(addresses)
    for _ in range(LIMIT + 1):
        answer = site.ask("/products?limit=1", scheme, X_Forwarded_For=address)
    assert answer.status == 429
    assert shown(answer).items() >= PUBLIC.items()
    assert (HSTS in answer.headers) == (scheme == "https")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cached_page_has_the_headers_of_the_api(site: Site, scheme: str) -> None:
    answers = [site.ask("/products?limit=7", scheme) for _ in range(2)]
    assert answers[1].headers["x-cache"] == "hit"
    assert shown(answers[0]) == shown(answers[1])
    assert shown(answers[1]).items() >= PUBLIC.items()
    assert (HSTS in answers[1].headers) == (scheme == "https")


@pytest.mark.parametrize(("head", "status"), [("nonsense", 400), ("GET /products HTTP/1.1\r\nX: " + "x" * 70_000, 431)])
def test_refusal_of_the_http_server_has_the_headers(site: Site, head: str, status: int) -> None:
    answer = site.server.raw(f"{head}\r\n\r\n".encode())
    assert (answer.status, shown(answer)) == (status, OURS)


def test_debug_page_has_all_headers_but_a_policy(client: Client, settings: Settings) -> None:
    """Its scripts are inline; DEBUG is off where the service is public."""
    settings.DEBUG = True
    answer: Any = client.get("/nothing")
    assert b"DEBUG = True" in answer.content
    found = {name.lower() for name in answer.headers}
    assert set(PAGE) - found == {CSP}
