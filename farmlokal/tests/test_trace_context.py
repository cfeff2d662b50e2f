"""The caller's trace is kept, or a new one begins; log lines and calls to other services carry it on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.offers import make_offer
from dev.testing.servers import Server, running
from dev.testing.waiting import wait_until
from farmlokal.observability.trace_context import TRACE_ID, TraceContext, of_request
from integrations.models import WebhookEvent
from integrations.tests.memory import reset_all

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = f"00-{TRACE}-{SPAN}-01"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
REQUEST_ID = "0af7651916cd43dd8448eb211c80319c"

# Headers


@pytest.mark.parametrize(
    ("header", "is_sampled"),
    [
        (CALLER, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f" {CALLER}\t", True),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"fe-{TRACE}-{SPAN}-01-", True),
    ],
)
def test_valid_traceparent_is_kept(header: str, is_sampled: bool) -> None:
    assert of_request(header, STATE, "id") == TraceContext(TRACE, SPAN, is_sampled, STATE)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"{CALLER}-",
        f"{CALLER}-extra",
        f"{CALLER}.",
        f"{CALLER}\n",
        f"{CALLER},{CALLER}",
        f"01-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-011",
        f"0-{TRACE}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:-1]}\u0664-{SPAN}-01",
    ],
)
def test_invalid_traceparent_begins_a_trace(header: str) -> None:
    trace = of_request(header, STATE, "id")
    assert TRACE_ID.fullmatch(trace.trace_id)
    assert trace == TraceContext(trace.trace_id, "", is_sampled=False, state="")
    assert trace.trace_id != of_request(header, STATE, "id").trace_id


def test_new_trace_has_the_id_of_its_request() -> None:
    assert of_request("", "", REQUEST_ID).trace_id == REQUEST_ID
    assert of_request("", "", "0" * 32).trace_id != "0" * 32


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("", ""),
        ("a=1", "a=1"),
        (" a=1\t, ,b=2 ", "a=1,b=2"),
        ("tenant@system=x y/z,*k-_/=~", ""),
        ("1tenant@system=x y", "1tenant@system=x y"),
        ("a", ""),
        ("a=", ""),
        ("A=1", ""),
        ("a=1=2", ""),
        ("a=\x1b", ""),
        ("a=é", ""),
        (",".join(f"k{number}=1" for number in range(32)), ",".join(f"k{number}=1" for number in range(32))),
        (",".join(f"k{number}=1" for number in range(33)), ""),
        (f"a={'v' * 255},b={'v' * 252}", f"a={'v' * 255},b={'v' * 252}"),
        (f"a={'v' * 255},b={'v' * 256}", ""),
    ],
)
def test_malformed_tracestate_is_dropped(state: str, kept: str) -> None:
    assert of_request(CALLER, state, "id") == TraceContext(TRACE, SPAN, is_sampled=True, state=kept)


# Requests


class Service(NamedTuple):
    server: Server
    partner: HTTPServer

    def lines(self, request_id: str) -> list[dict[str, Any]]:
        """All log lines of an answered request."""

        def found() -> list[dict[str, Any]]:
            lines = map(json.loads, self.server.log.read_text().splitlines())
            return [line for line in lines if line.get("request_id") == request_id]

        wait_until(lambda: any(line["event"] == "request" for line in found()))
        return found()

    def called(self, path: str) -> Request:
        (request,) = [request for request, _ in self.partner.log if request.path == path]
        return request


@pytest.fixture(scope="module")
def service(live_database: None, database_environment: dict[str, str]) -> Iterator[Service]:
    """The service, with a partner, a token provider and a key set that fail."""
    reset_all()
    make_offer()
    with HTTPServer() as partner:
        partner.expect_request("/token").respond_with_json({"access_token": "t", "token_type": "Bearer"})
        partner.expect_request("/keys").respond_with_response(Response(status=500))
        partner.expect_request("/v1/quotes").respond_with_response(Response(status=404))
        url = partner.url_for("").rstrip("/")
        settings = {
            "PARTNER_API_URL": url,
            "PARTNER_DEADLINE_SECONDS": "20",
            "PARTNER_WEBHOOK_SECRETS": SECRET,
            "OAUTH_TOKEN_URL": f"{url}/token",
            "OAUTH_CLIENT_ID": "shop",
            "OAUTH_CLIENT_SECRET": "secret",
            "OAUTH_ISSUER": url,
            "OAUTH_JWKS_URL": f"{url}/keys",
            "OAUTH_API_AUDIENCE": "api",
        }
        with running(database_environment, WEB_CONCURRENCY="1", **settings) as server:
            yield Service(server, partner)


@pytest.mark.parametrize("target", ["/products", "/products/0", "/nowhere", "/admin/login/", "/livez"])
def test_request_line_has_the_trace_of_the_caller(service: Service, target: str) -> None:
    for number in range(2):  # the second listing is a hit: the edge answers
        request_id = f"kept{number}{target.replace('/', '.')}"
        service.server.request(target, traceparent=CALLER, X_Request_ID=request_id)
        assert [line["trace_id"] for line in service.lines(request_id)] == [TRACE]


@pytest.mark.parametrize("target", ["/categories", "/nowhere"])
def test_request_without_a_trace_begins_one(service: Service, target: str) -> None:
    for number in range(2):
        request_id = service.server.request(target).headers["x-request-id"]
        assert [line["trace_id"] for line in service.lines(request_id)] == [request_id]
        named = f"begun{number}{target.replace('/', '.')}"
        service.server.request(target, X_Request_ID=named)
        assert [bool(TRACE_ID.fullmatch(line["trace_id"])) for line in service.lines(named)] == [True]


def assert_child(request: Request) -> None:
    """A valid traceparent of the caller's trace, with another span."""
    match = re.fullmatch(rf"00-{TRACE}-([0-9a-f]{{16}})-01", request.headers["traceparent"])
    assert match
    assert match[1] not in {SPAN, "0" * 16}
    assert request.headers["tracestate"] == STATE


def test_calls_for_a_quote_carry_the_trace(service: Service) -> None:
    pk = service.server.request("/products").json["results"][0]["id"]
    target = f"/products/{pk}/delivery-quote?pincode=560001"
    answer = service.server.request(target, traceparent=CALLER, tracestate=STATE, X_Request_ID="quote")
    assert answer.status == 502
    token, quote = service.called("/token"), service.called("/v1/quotes")
    for request in (token, quote):
        assert_child(request)
    assert token.headers["traceparent"] != quote.headers["traceparent"]
    assert {line["event"]: line["trace_id"] for line in service.lines("quote")} == {
        "call_failed": TRACE,
        "request": TRACE,
    }


def test_fetch_of_keys_carries_the_trace(service: Service) -> None:
    token = jwt.encode({"sub": "shop"}, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "1"})
    headers = {"traceparent": CALLER, "tracestate": STATE, "Authorization": f"Bearer {token}"}
    assert service.server.request("/products", X_Request_ID="keys", **headers).status == 503
    assert_child(service.called("/keys"))
    lines = {line["event"]: line["trace_id"] for line in service.lines("keys")}
    assert lines == {"fetch_failed": TRACE, "request": TRACE}


def test_stored_webhook_keeps_the_trace(service: Service) -> None:
    traced, begun = Delivery(event(0)), Delivery(event(0))
    answer = service.server.post("/webhooks/partner", traced.body, [*traced.headers.items(), ("traceparent", CALLER)])
    assert answer.status == 200
    begun_id = service.server.post("/webhooks/partner", begun.body, [*begun.headers.items()]).headers["x-request-id"]
    stored = {row.webhook_id: row.headers["traceparent"][3:35] for row in WebhookEvent.objects.all()}
    assert stored == {traced.headers["webhook-id"]: TRACE, begun.headers["webhook-id"]: begun_id}
