"""Requests to POST /webhooks/partner: which are accepted, and that no other causes a 5xx or a write."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from dev.testing.deliveries import OTHER_SECRET, SECRET, Delivery, event, signature
from dev.testing.npm import install_script
from dev.testing.offers import make_offer
from farmlokal.observability import request_costs
from farmlokal.routes import MAX_WEBHOOK_BYTES
from integrations.models import WebhookEvent
from integrations.sandbox.sender import PRICE, STOCK, WITHDRAWN

pytestmark = [pytest.mark.usefixtures("clean_webhooks"), pytest.mark.django_db]

UNSIGNED = (401, "signature-invalid")
MALFORMED = (400, "bad-request")
INVALID = (400, "invalid-parameter")
IGNORED = (200, "ignored")


def body(**changes: Any) -> dict[str, Any]:
    """A price event of an unknown product, with changed members."""
    return event() | changes


def data(event_type: str = PRICE, **changes: Any) -> dict[str, Any]:
    return event(event_type=event_type, **changes)


def padded(size: int) -> bytes:
    """A body with blanks at the end."""
    return json.dumps(body()).encode().ljust(size)


def raw(text: str) -> bytes:
    """A body whose data is this text."""
    return f'{{"type": "{PRICE}", "timestamp": "2026-11-23T06:30:00Z", "data": {text}}}'.encode()


def at(seconds: int) -> str:
    return str(int(time.time()) + seconds)


def nested_data(depth: int) -> bytes:
    return raw(f"""{{"product_id": 1, "version": 1, "price": "1.00", "x": {"[" * depth + "]" * depth}}}""")


TABLE: dict[str, tuple[Any, tuple[int, str]]] = {
    # Headers
    "no id": ({"without": "webhook-id"}, UNSIGNED),
    "no timestamp": ({"without": "webhook-timestamp"}, UNSIGNED),
    "no signature": ({"without": "webhook-signature"}, UNSIGNED),
    "an empty signature": ({"signature": ""}, UNSIGNED),
    "a signature of spaces": ({"signature": "   "}, UNSIGNED),
    "a dot in the id": ({"webhook_id": "msg.1"}, MALFORMED),
    "a dot as the id": ({"webhook_id": "."}, MALFORMED),
    "a space in the id": ({"webhook_id": "msg 1"}, MALFORMED),
    "a space as the id": ({"webhook_id": " "}, MALFORMED),
    "a tab in the id": ({"webhook_id": "msg\t1"}, MALFORMED),
    "an id in Latin-1": ({"webhook_id": "caf\xe9"}, MALFORMED),
    "an id of 256 characters": ({"webhook_id": "i" * 256}, MALFORMED),
    "an id of 255 characters": ({"webhook_id": "i" * 255}, IGNORED),
    "an id of 1 character": ({"webhook_id": "!"}, IGNORED),
    "all characters in the id": ({"webhook_id": "!\"#$%&'()*+,-/0:;<=>?@A[]^_`a{|}~\\"}, IGNORED),
    # Timestamps
    "four minutes ago": ({"timestamp": lambda: at(-240)}, IGNORED),
    "in four minutes": ({"timestamp": lambda: at(240)}, IGNORED),
    "six minutes ago": ({"timestamp": lambda: at(-360)}, UNSIGNED),
    "in six minutes": ({"timestamp": lambda: at(360)}, UNSIGNED),
    "time 0": ({"timestamp": "0"}, UNSIGNED),
    "a negative time": ({"timestamp": "-1"}, UNSIGNED),
    "12 digits": ({"timestamp": "9" * 12}, UNSIGNED),
    "400 digits": ({"timestamp": "9" * 400}, UNSIGNED),
    "a time with a fraction": ({"timestamp": lambda: at(0) + ".5"}, UNSIGNED),
    "a time with an exponent": ({"timestamp": "1.8e9"}, UNSIGNED),
    "a time with a plus": ({"timestamp": lambda: "+" + at(0)}, UNSIGNED),
    "a time with a leading zero": ({"timestamp": lambda: "0" + at(0)}, UNSIGNED),
    "a time with a leading space": ({"timestamp": lambda: " " + at(0)}, UNSIGNED),
    "a time with underscores": ({"timestamp": "1_800_000_000"}, UNSIGNED),
    "a time in milliseconds": ({"timestamp": lambda: at(0) + "000"}, UNSIGNED),
    "not a number": ({"timestamp": "nan"}, UNSIGNED),
    "an infinite time": ({"timestamp": "inf"}, UNSIGNED),
    "a date": ({"timestamp": "2026-11-23T06:30:00Z"}, UNSIGNED),
    "a hexadecimal time": ({"timestamp": "0x6a5b4c3d"}, UNSIGNED),
    "a time with a Latin-1 digit": ({"timestamp": lambda: "\xb2" + at(0)}, UNSIGNED),
    # Signatures
    "another secret": ({"secret": OTHER_SECRET}, UNSIGNED),
    "a signature without a version": ({"signature": "AAAA"}, UNSIGNED),
    "a signature that is not base64": ({"signature": "v1,@@@"}, UNSIGNED),
    "a truncated signature": ({"signature": "v1,AAA"}, UNSIGNED),
    "a signature with commas": ({"signature": "v1,a,b"}, UNSIGNED),
    "a comma as the signature": ({"signature": ","}, UNSIGNED),
    "a signature of another version": ({"signature": "v1a,AAAA"}, UNSIGNED),
    "a wrong signature": ({"signature": "v1," + "A" * 43 + "="}, UNSIGNED),
    "a hexadecimal signature": ({"signature": "v1," + "0f" * 32}, UNSIGNED),
    "a Latin-1 signature": ({"signature": "v1,\xe9"}, UNSIGNED),
    "a very long signature": ({"signature": "v1," + "A" * 7000}, UNSIGNED),
    "very many signatures": ({"signature": " ".join(["v1," + "A" * 43 + "="] * 150)}, UNSIGNED),
    "a version in capitals": ({"signature": "V1,{mac}"}, UNSIGNED),
    "a valid signature after invalid ones": ({"signature": "v1,xx AAAA v2,b,c {right}"}, IGNORED),
    "a valid signature before invalid ones": ({"signature": "{right} v1,xx AAAA v1a,zz"}, IGNORED),
    "a valid signature twice": ({"signature": "{right} {right}"}, IGNORED),
    "two signatures joined by a comma": ({"signature": "{right},{right}"}, UNSIGNED),
    # Media types
    "text": ({"content_type": "text/plain"}, (415, "unsupported-media-type")),
    "a form": ({"content_type": "application/x-www-form-urlencoded"}, (415, "unsupported-media-type")),
    "a multipart form": ({"content_type": "multipart/form-data; boundary=x"}, (415, "unsupported-media-type")),
    "no media type": ({"content_type": ""}, (415, "unsupported-media-type")),
    "JSON with a charset": ({"content_type": "Application/JSON; charset=utf-8"}, IGNORED),
    "unsigned text": ({"content_type": "text/plain", "signature": "v1,x"}, UNSIGNED),
    # Encodings and JSON
    "a compressed body": ({"body": gzip.compress(b"{}"), "coding": "gzip"}, (415, "unsupported-media-type")),
    "the identity coding": ({"coding": "Identity"}, IGNORED),
    "an empty body": ({"body": b""}, MALFORMED),
    "a blank body": ({"body": b"  \n"}, MALFORMED),
    "a byte order mark": ({"body": b"\xef\xbb\xbf" + json.dumps(body()).encode()}, MALFORMED),
    "UTF-16": ({"body": json.dumps(body()).encode("utf-16")}, MALFORMED),
    "Latin-1": ({"body": '{"type": "caf\xe9"}'.encode("latin1")}, MALFORMED),
    "overlong UTF-8": ({"body": b'{"type": "\xc0\x80"}'}, MALFORMED),
    "a truncated document": ({"body": b'{"type": "x'}, MALFORMED),
    "two documents": ({"body": b"{}{}"}, MALFORMED),
    "a trailing comma": ({"body": b'{"type": "x",}'}, MALFORMED),
    "NaN": ({"body": raw('{"product_id": NaN}')}, MALFORMED),
    "a form body": ({"body": b"type=x&data=y"}, MALFORMED),
    "200,000 nested lists": ({"body": b"[" * 200_000}, MALFORMED),
    "40,000 nested objects": ({"body": b'{"a":' * 40_000}, MALFORMED),
    "a number of 200,000 digits": ({"body": raw('{"product_id": ' + "9" * 200_000 + "}")}, MALFORMED),
    "100 nested lists in the data": ({"body": nested_data(100)}, IGNORED),
    "10,000 nested lists in the data": ({"body": nested_data(10_000)}, MALFORMED),
    "a number of 5,000 digits": ({"body": raw('{"x": ' + "9" * 5000 + "}")}, MALFORMED),
    "the largest body": ({"body": padded(MAX_WEBHOOK_BYTES)}, IGNORED),
    "a body too large": ({"body": padded(MAX_WEBHOOK_BYTES + 1)}, (413, "payload-too-large")),
    "a list": ({"body": b"[]"}, INVALID),
    "null": ({"body": b"null"}, INVALID),
    "a string": ({"body": b'"x"'}, INVALID),
    # The envelope
    "no members": ({"body": {}}, INVALID),
    "an empty type": ({"body": body(type="")}, INVALID),
    "a type of null": ({"body": body(type=None)}, INVALID),
    "a type of 101 characters": ({"body": body(type="t" * 101)}, INVALID),
    "a type with a blank": ({"body": body(type=" x")}, INVALID),
    "a lone surrogate": ({"body": body(type="\ud800")}, INVALID),
    "a type with NUL": ({"body": body(type="a\0b")}, INVALID),
    "a type twice": ({"body": raw('{}, "type": "y"')}, INVALID),
    "a time that is a number": ({"body": body(timestamp=1_800_000_000)}, INVALID),
    "February 30": ({"body": body(timestamp="2026-02-30T06:30:00Z")}, INVALID),
    "a time without a zone": ({"body": body(timestamp="2026-11-23T06:30:00")}, INVALID),
    "a time with an offset": ({"body": body(timestamp="2026-11-23T12:00:00.123+05:30")}, IGNORED),
    "data that is a list": ({"body": body(data=[])}, INVALID),
    "data that is null": ({"body": body(data=None)}, INVALID),
    "an unknown member": ({"body": body(api_version=2)}, IGNORED),
    "another type": ({"body": body(type="order.created", data={"anything": ["\ud800", 1.5, None]})}, IGNORED),
    # The data
    "no data": ({"body": body(data={})}, INVALID),
    "a member twice": ({"body": raw('{"product_id": 1, "version": 1, "price": "1.00", "version": 2}')}, INVALID),
    "an unknown member in the data": ({"body": data(currency="INR")}, IGNORED),
    "a product id that is a string": ({"body": data(product_id="1")}, INVALID),
    "a product id that is true": ({"body": data(product_id=True)}, INVALID),
    "a product id that is 1.0": ({"body": data(product_id=1.0)}, INVALID),
    "a negative product id": ({"body": data(product_id=-1)}, INVALID),
    "a product id of 19 digits": ({"body": data(product_id=10**18)}, INVALID),
    "a product id of 18 digits": ({"body": data(product_id=10**18 - 1)}, IGNORED),
    "version 0": ({"body": data(version=0)}, INVALID),
    "version 2^63": ({"body": data(version=2**63)}, INVALID),
    "version 2^63 - 1": ({"body": data(version=2**63 - 1)}, IGNORED),
    "a version that is a string": ({"body": data(version="1")}, INVALID),
    "a price that is a number": ({"body": data(price=47.5)}, INVALID),
    "a price of one decimal": ({"body": data(price="47.5")}, INVALID),
    "a price of three decimals": ({"body": data(price="47.500")}, INVALID),
    "a price without decimals": ({"body": data(price="47")}, INVALID),
    "a price of zero": ({"body": data(price="0.00")}, INVALID),
    "a negative price": ({"body": data(price="-1.00")}, INVALID),
    "a price with a line break": ({"body": data(price="47.50\n")}, INVALID),
    "a price in Devanagari": ({"body": data(price="४७.५०")}, INVALID),
    "a price of nine digits": ({"body": data(price="123456789.00")}, INVALID),
    "a price of 0.01": ({"body": data(price="0.01")}, IGNORED),
    "a price of 99999999.99": ({"body": data(price="99999999.99")}, IGNORED),
    "no price": ({"body": data(price=None)}, INVALID),
    "a negative stock": ({"body": data(STOCK, stock=-1)}, INVALID),
    "a stock of 2^31": ({"body": data(STOCK, stock=2**31)}, INVALID),
    "a stock of 2^31 - 1": ({"body": data(STOCK, stock=2**31 - 1)}, IGNORED),
    "a fractional stock": ({"body": data(STOCK, stock=0.5)}, INVALID),
    "a withdrawal without a version": ({"body": body(type=WITHDRAWN, data={"product_id": 1})}, INVALID),
    "a withdrawal": ({"body": data(WITHDRAWN)}, IGNORED),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_each_request_gets_its_answer(client: Client, name: str) -> None:
    changes, expected = TABLE[name]
    fields: Any = {name: value() if callable(value) else value for name, value in changes.items()}
    delivery = Delivery(**({"body": body()} | fields))
    with CaptureQueriesContext(connection) as queries:
        assert delivery.send(client) == expected
    assert WebhookEvent.objects.count() == (expected == IGNORED)
    if expected != IGNORED:
        assert not queries.captured_queries


def test_body_errors_have_pointers(client: Client) -> None:
    delivery = Delivery(body(data={"product_id": "1", "price": 5, "version": 0}))
    answer = client.post("/webhooks/partner", delivery.body, "application/json", headers=delivery.headers)
    assert answer["Content-Type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [
        "/data/product_id",
        "/data/version",
        "/data/price",
    ]


def test_signature_covers_id_time_and_body(client: Client) -> None:
    valid = Delivery(body())
    for name, value in {"webhook_id": "another", "timestamp": at(1), "body": body(type="another")}.items():
        same: Any = {"webhook_id": valid.webhook_id, "timestamp": valid.timestamp, "body": valid.body}
        assert Delivery(**{**same, name: value}, signature=valid.headers["webhook-signature"]).send(client) == UNSIGNED
    assert valid.send(client) == IGNORED


def test_refusal_has_a_challenge_and_a_reason(client: Client) -> None:
    answer = client.post("/webhooks/partner", b"{}", "application/json")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "StandardWebhooks")
    assert "webhook-id is missing" in answer.json()["detail"]
    assert "X-Request-ID" in answer


@pytest.mark.parametrize(("offset", "told"), [(-400, "s behind our clock"), (402, "s ahead of our clock")])
def test_refused_time_is_told_beside_our_clock(client: Client, offset: int, told: str) -> None:
    delivery = Delivery(body(), timestamp=at(offset))
    answer = client.post("/webhooks/partner", delivery.body, "application/json", headers=delivery.headers)
    assert (answer.status_code, answer.json()["code"]) == UNSIGNED
    assert told in answer.json()["detail"]


def test_any_configured_secret_is_accepted(client: Client, settings: Settings) -> None:
    settings.PARTNER_WEBHOOK_SECRETS = [OTHER_SECRET, SECRET]
    assert Delivery(body(), secret=SECRET).send(client) == Delivery(body(), secret=OTHER_SECRET).send(client) == IGNORED
    settings.PARTNER_WEBHOOK_SECRETS = [OTHER_SECRET]
    assert Delivery(body(), secret=SECRET).send(client) == UNSIGNED
    settings.PARTNER_WEBHOOK_SECRETS = []
    assert Delivery(body(), secret=OTHER_SECRET).send(client) == UNSIGNED


def test_only_post_is_allowed(client: Client) -> None:
    for method in (client.get, client.put, client.patch, client.delete):
        answer = method("/webhooks/partner")
        assert (answer.status_code, answer["Allow"]) == (405, "POST, OPTIONS")
    assert client.post("/webhooks/partner/").status_code == 404
    assert client.post("/webhooks/other").status_code == 404


def test_query_parameters_are_refused(client: Client) -> None:
    delivery = Delivery(body())
    answer = client.post("/webhooks/partner?x=1", delivery.body, "application/json", headers=delivery.headers)
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "x")


def test_other_credentials_are_ignored_and_not_logged(client: Client) -> None:
    delivery = Delivery(body())
    headers = delivery.headers | {"Authorization": "Bearer a.b.c", "Cookie": "sessionid=x"}
    answer = client.post("/webhooks/partner", delivery.body, "application/json", headers=headers)
    assert answer.status_code == 200
    logged = WebhookEvent.objects.get().headers
    assert logged.keys() == {"webhook-id", "webhook-timestamp", "content-type", "traceparent"}


def test_refusal_costs_no_statement_or_command(client: Client) -> None:
    Delivery(body(), secret=OTHER_SECRET).send(client)
    assert (request_costs.current.statements, request_costs.current.commands) == (0, 0)


texts = st.text(max_size=40) | st.sampled_from([PRICE, STOCK, WITHDRAWN, "47.50", "2026-11-23T06:30:00Z"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "type": texts | values,
        "timestamp": texts | values,
        "data": values
        | st.fixed_dictionaries(
            {}, optional={"product_id": values, "version": values, "price": values, "stock": values, "x": values}
        ),
    },
)
# Valid bodies with one or two other members.
nearly = st.builds(
    lambda event_type, envelope, data: body(**{"type": event_type, "data": data} | envelope),
    st.sampled_from([PRICE, STOCK, WITHDRAWN, "order.created"]),
    st.just({}) | st.dictionaries(st.sampled_from(["type", "timestamp", "data", "x"]), values, max_size=1),
    st.dictionaries(st.sampled_from(["product_id", "version", "price", "stock", "x"]), values, max_size=2).map(
        lambda changes: {"product_id": 1, "version": 1, "price": "47.50", "stock": 1} | changes
    ),
)
bodies = st.binary(max_size=200) | (envelopes | nearly).map(lambda document: json.dumps(document).encode())
header_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)
headers = st.fixed_dictionaries(
    {},
    optional={
        "webhook_id": header_texts,
        "timestamp": header_texts | st.integers(-400, 400).map(at),
        "signature": header_texts.filter(lambda text: not {"{", "}"} & {*text}) | st.just("x {right} v1,y"),
    },
)


@budget(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=bodies, given_headers=headers)
def test_no_request_causes_a_server_error(client: Client, sent: bytes, given_headers: dict[str, str]) -> None:
    status, outcome = Delivery(sent, **given_headers).send(client)
    assert (status, outcome) in {
        *((200, "ignored"), (200, "duplicate"), (401, "signature-invalid")),
        *((400, "bad-request"), (400, "invalid-parameter")),
    }


# With npm's reference library


def test_npm_reference_library_signs_valid_deliveries(client: Client) -> None:
    script = install_script("integrations/tests/standardwebhooks", "sign.mjs")
    product = make_offer()
    sent = json.dumps(event(product.pk, note="आम, caf\xe9, 🥭"), ensure_ascii=False)
    run = subprocess.run(["node", script, SECRET, "msg_of_npm", sent], capture_output=True, text=True, check=True)
    answer = client.post("/webhooks/partner", sent.encode(), "application/json", headers=json.loads(run.stdout))
    assert (answer.status_code, answer.json()) == (200, {"status": "processed"})


def test_example_of_the_specification() -> None:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, its symmetric one."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    sent = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(sent, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", secret) == expected
