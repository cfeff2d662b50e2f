"""What POST /webhooks/partner takes, and what it says to everything else: never a 5xx, and nothing written."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dev.testing.deliveries import OTHER_SECRET, SECRET, Delivery, event, signature
from dev.testing.npm import install_script
from dev.testing.offers import make_offer
from farmlokal.observability import request_costs
from integrations.models import WebhookEvent
from integrations.sandbox.sender import PRICE, STOCK, WITHDRAWN
from integrations.tests.memory import clean_slate
from integrations.webhooks.signatures import MAX_BODY_BYTES

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

UNSIGNED = (401, "signature-invalid")
MALFORMED = (400, "bad-request")
NOT_AS_AGREED = (400, "invalid-parameter")
IGNORED = (200, "ignored")


@pytest.fixture(autouse=True)
def _clean(settings: Settings) -> None:
    clean_slate()
    settings.PARTNER_WEBHOOK_SECRETS = [SECRET]


def body(**changes: Any) -> dict[str, Any]:
    """Of a price that has changed, of a product that nobody knows, with other members."""
    return event() | changes


def data(event_type: str = PRICE, **changes: Any) -> dict[str, Any]:
    return event(event_type=event_type, **changes)


def raw(text: str) -> bytes:
    """A whole body, with text for its data."""
    return f'{{"type": "{PRICE}", "timestamp": "2026-11-23T06:30:00Z", "data": {text}}}'.encode()


def at(seconds: int) -> str:
    return str(int(time.time()) + seconds)


def tower(height: int) -> bytes:
    """Three levels more than this."""
    return raw(f"""{{"product_id": 1, "version": 1, "price": "1.00", "x": {"[" * height + "]" * height}}}""")


TABLE: dict[str, tuple[Any, tuple[int, str]]] = {
    # Headers
    "no id": ({"without": "webhook-id"}, UNSIGNED),
    "no timestamp": ({"without": "webhook-timestamp"}, UNSIGNED),
    "no signature": ({"without": "webhook-signature"}, UNSIGNED),
    "an empty signature": ({"signature": ""}, UNSIGNED),
    "a signature of spaces": ({"signature": "   "}, UNSIGNED),
    "a dot in the id": ({"webhook_id": "msg.1"}, MALFORMED),
    "an id of a dot": ({"webhook_id": "."}, MALFORMED),
    "a space in the id": ({"webhook_id": "msg 1"}, MALFORMED),
    "an id of a space": ({"webhook_id": " "}, MALFORMED),
    "a tab in the id": ({"webhook_id": "msg\t1"}, MALFORMED),
    "an id in Latin-1": ({"webhook_id": "caf\xe9"}, MALFORMED),
    "an id of 256": ({"webhook_id": "i" * 256}, MALFORMED),
    "an id of 255": ({"webhook_id": "i" * 255}, IGNORED),
    "an id of one": ({"webhook_id": "!"}, IGNORED),
    "an id of all kinds": ({"webhook_id": "!\"#$%&'()*+,-/0:;<=>?@A[]^_`a{|}~\\"}, IGNORED),
    # Timestamps
    "four minutes ago": ({"timestamp": lambda: at(-240)}, IGNORED),
    "in four minutes": ({"timestamp": lambda: at(240)}, IGNORED),
    "six minutes ago": ({"timestamp": lambda: at(-360)}, UNSIGNED),
    "in six minutes": ({"timestamp": lambda: at(360)}, UNSIGNED),
    "at the beginning": ({"timestamp": "0"}, UNSIGNED),
    "before the beginning": ({"timestamp": "-1"}, UNSIGNED),
    "at the end of time": ({"timestamp": "9" * 12}, UNSIGNED),
    "beyond the end of time": ({"timestamp": "9" * 400}, UNSIGNED),
    "with a fraction": ({"timestamp": lambda: at(0) + ".5"}, UNSIGNED),
    "with an exponent": ({"timestamp": "1.8e9"}, UNSIGNED),
    "with a plus": ({"timestamp": lambda: "+" + at(0)}, UNSIGNED),
    "with a zero in front": ({"timestamp": lambda: "0" + at(0)}, UNSIGNED),
    "with a space in front": ({"timestamp": lambda: " " + at(0)}, UNSIGNED),
    "with underscores": ({"timestamp": "1_800_000_000"}, UNSIGNED),
    "in milliseconds": ({"timestamp": lambda: at(0) + "000"}, UNSIGNED),
    "not a number": ({"timestamp": "nan"}, UNSIGNED),
    "infinite": ({"timestamp": "inf"}, UNSIGNED),
    "a date": ({"timestamp": "2026-11-23T06:30:00Z"}, UNSIGNED),
    "hexadecimal": ({"timestamp": "0x6a5b4c3d"}, UNSIGNED),
    "digits of Latin-1": ({"timestamp": lambda: "\xb2" + at(0)}, UNSIGNED),
    # Signatures
    "another's secret": ({"secret": OTHER_SECRET}, UNSIGNED),
    "without its version": ({"signature": "AAAA"}, UNSIGNED),
    "of base64 that is none": ({"signature": "v1,@@@"}, UNSIGNED),
    "of base64 that ends too early": ({"signature": "v1,AAA"}, UNSIGNED),
    "with commas": ({"signature": "v1,a,b"}, UNSIGNED),
    "nothing but a comma": ({"signature": ","}, UNSIGNED),
    "of another version": ({"signature": "v1a,AAAA"}, UNSIGNED),
    "that looks like one": ({"signature": "v1," + "A" * 43 + "="}, UNSIGNED),
    "in hexadecimal": ({"signature": "v1," + "0f" * 32}, UNSIGNED),
    "in Latin-1": ({"signature": "v1,\xe9"}, UNSIGNED),
    "very long": ({"signature": "v1," + "A" * 7000}, UNSIGNED),
    "very many": ({"signature": " ".join(["v1," + "A" * 43 + "="] * 150)}, UNSIGNED),
    "in capitals": ({"signature": "V1,{mac}"}, UNSIGNED),
    "the right one behind wrong ones": ({"signature": "v1,xx AAAA v2,b,c {right}"}, IGNORED),
    "the right one before wrong ones": ({"signature": "{right} v1,xx AAAA v1a,zz"}, IGNORED),
    "the right one twice": ({"signature": "{right} {right}"}, IGNORED),
    "two headers as one": ({"signature": "{right},{right}"}, UNSIGNED),
    # Media types
    "text": ({"content_type": "text/plain"}, (415, "unsupported-media-type")),
    "a form": ({"content_type": "application/x-www-form-urlencoded"}, (415, "unsupported-media-type")),
    "parts": ({"content_type": "multipart/form-data; boundary=x"}, (415, "unsupported-media-type")),
    "no media type": ({"content_type": ""}, (415, "unsupported-media-type")),
    "JSON with a charset": ({"content_type": "Application/JSON; charset=utf-8"}, IGNORED),
    "text that is unsigned": ({"content_type": "text/plain", "signature": "v1,x"}, UNSIGNED),
    # Encodings and JSON
    "compressed": ({"body": gzip.compress(b"{}"), "coding": "gzip"}, (415, "unsupported-media-type")),
    "not compressed, as it says": ({"coding": "Identity"}, IGNORED),
    "nothing": ({"body": b""}, MALFORMED),
    "blanks": ({"body": b"  \n"}, MALFORMED),
    "a byte order mark": ({"body": b"\xef\xbb\xbf" + json.dumps(body()).encode()}, MALFORMED),
    "UTF-16": ({"body": json.dumps(body()).encode("utf-16")}, MALFORMED),
    "Latin-1": ({"body": '{"type": "caf\xe9"}'.encode("latin1")}, MALFORMED),
    "overlong UTF-8": ({"body": b'{"type": "\xc0\x80"}'}, MALFORMED),
    "half a document": ({"body": b'{"type": "x'}, MALFORMED),
    "two documents": ({"body": b"{}{}"}, MALFORMED),
    "a comma too many": ({"body": b'{"type": "x",}'}, MALFORMED),
    "NaN": ({"body": raw('{"product_id": NaN}')}, MALFORMED),
    "a form's text": ({"body": b"type=x&data=y"}, MALFORMED),
    "a tower of brackets": ({"body": b"[" * 200_000}, MALFORMED),
    "a tower of objects": ({"body": b'{"a":' * 40_000}, MALFORMED),
    "a number without end": ({"body": raw('{"product_id": ' + "9" * 200_000 + "}")}, MALFORMED),
    "a tower in its data": ({"body": tower(100)}, IGNORED),
    "a tower too high": ({"body": tower(10_000)}, MALFORMED),
    "a number of many digits": ({"body": raw('{"x": ' + "9" * 5000 + "}")}, MALFORMED),
    "as large as may be": ({"body": json.dumps(body()).encode().ljust(MAX_BODY_BYTES)}, IGNORED),
    "larger than may be": ({"body": json.dumps(body()).encode().ljust(MAX_BODY_BYTES + 1)}, (413, "payload-too-large")),
    "a list": ({"body": b"[]"}, NOT_AS_AGREED),
    "null": ({"body": b"null"}, NOT_AS_AGREED),
    "a string": ({"body": b'"x"'}, NOT_AS_AGREED),
    # The envelope
    "no members": ({"body": {}}, NOT_AS_AGREED),
    "an empty type": ({"body": body(type="")}, NOT_AS_AGREED),
    "a type of null": ({"body": body(type=None)}, NOT_AS_AGREED),
    "a type of 101": ({"body": body(type="t" * 101)}, NOT_AS_AGREED),
    "a type with a blank": ({"body": body(type=" x")}, NOT_AS_AGREED),
    "half a character": ({"body": body(type="\ud800")}, NOT_AS_AGREED),
    "a type with NUL": ({"body": body(type="a\0b")}, NOT_AS_AGREED),
    "a type twice": ({"body": raw('{}, "type": "y"')}, NOT_AS_AGREED),
    "a time that is a number": ({"body": body(timestamp=1_800_000_000)}, NOT_AS_AGREED),
    "a day that there is not": ({"body": body(timestamp="2026-02-30T06:30:00Z")}, NOT_AS_AGREED),
    "a time of nowhere": ({"body": body(timestamp="2026-11-23T06:30:00")}, NOT_AS_AGREED),
    "a time of the east": ({"body": body(timestamp="2026-11-23T12:00:00.123+05:30")}, IGNORED),
    "data that is a list": ({"body": body(data=[])}, NOT_AS_AGREED),
    "data that is null": ({"body": body(data=None)}, NOT_AS_AGREED),
    "something else beside": ({"body": body(api_version=2)}, IGNORED),
    "another type": ({"body": body(type="order.created", data={"anything": ["\ud800", 1.5, None]})}, IGNORED),
    # The data
    "no data": ({"body": body(data={})}, NOT_AS_AGREED),
    "a member twice": ({"body": raw('{"product_id": 1, "version": 1, "price": "1.00", "version": 2}')}, NOT_AS_AGREED),
    "something else in the data": ({"body": data(currency="INR")}, IGNORED),
    "an id that is a string": ({"body": data(product_id="1")}, NOT_AS_AGREED),
    "an id that is true": ({"body": data(product_id=True)}, NOT_AS_AGREED),
    "an id that is 1.0": ({"body": data(product_id=1.0)}, NOT_AS_AGREED),
    "an id below 0": ({"body": data(product_id=-1)}, NOT_AS_AGREED),
    "an id of 19 digits": ({"body": data(product_id=10**18)}, NOT_AS_AGREED),
    "an id of 18 digits": ({"body": data(product_id=10**18 - 1)}, IGNORED),
    "version 0": ({"body": data(version=0)}, NOT_AS_AGREED),
    "version 2^63": ({"body": data(version=2**63)}, NOT_AS_AGREED),
    "version 2^63 - 1": ({"body": data(version=2**63 - 1)}, IGNORED),
    "a version that is a string": ({"body": data(version="1")}, NOT_AS_AGREED),
    "a price that is a number": ({"body": data(price=47.5)}, NOT_AS_AGREED),
    "a price of one decimal": ({"body": data(price="47.5")}, NOT_AS_AGREED),
    "a price of three decimals": ({"body": data(price="47.500")}, NOT_AS_AGREED),
    "a price of none": ({"body": data(price="47")}, NOT_AS_AGREED),
    "a price of nothing": ({"body": data(price="0.00")}, NOT_AS_AGREED),
    "a price below nothing": ({"body": data(price="-1.00")}, NOT_AS_AGREED),
    "a price with an end of line": ({"body": data(price="47.50\n")}, NOT_AS_AGREED),
    "a price in Devanagari": ({"body": data(price="४७.५०")}, NOT_AS_AGREED),
    "a price of nine digits": ({"body": data(price="123456789.00")}, NOT_AS_AGREED),
    "a price of 0.01": ({"body": data(price="0.01")}, IGNORED),
    "a price of 99999999.99": ({"body": data(price="99999999.99")}, IGNORED),
    "no price": ({"body": data(price=None)}, NOT_AS_AGREED),
    "a stock below 0": ({"body": data(STOCK, stock=-1)}, NOT_AS_AGREED),
    "a stock of 2^31": ({"body": data(STOCK, stock=2**31)}, NOT_AS_AGREED),
    "a stock of 2^31 - 1": ({"body": data(STOCK, stock=2**31 - 1)}, IGNORED),
    "half a kilogram": ({"body": data(STOCK, stock=0.5)}, NOT_AS_AGREED),
    "a withdrawal without a version": ({"body": body(type=WITHDRAWN, data={"product_id": 1})}, NOT_AS_AGREED),
    "a withdrawal": ({"body": data(WITHDRAWN)}, IGNORED),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_each_has_its_answer(client: Client, name: str) -> None:
    changes, expected = TABLE[name]
    of_now: Any = {name: value() if callable(value) else value for name, value in changes.items()}
    delivery = Delivery(**({"body": body()} | of_now))
    with CaptureQueriesContext(connection) as queries:
        assert delivery.send(client) == expected
    assert WebhookEvent.objects.count() == (expected == IGNORED)
    if expected != IGNORED:
        assert not queries.captured_queries


def test_what_is_wrong_with_a_body_is_told_by_pointers(client: Client) -> None:
    delivery = Delivery(body(data={"product_id": "1", "price": 5, "version": 0}))
    answer = client.post("/webhooks/partner", delivery.body, "application/json", headers=delivery.headers)
    assert answer["Content-Type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [
        "/data/product_id",
        "/data/version",
        "/data/price",
    ]


def test_the_signature_is_over_all_of_it(client: Client) -> None:
    right = Delivery(body())
    for name, value in {"webhook_id": "another", "timestamp": at(1), "body": body(type="another")}.items():
        same: Any = {"webhook_id": right.webhook_id, "timestamp": right.timestamp, "body": right.body}
        assert Delivery(**{**same, name: value}, signature=right.headers["webhook-signature"]).send(client) == UNSIGNED
    assert right.send(client) == IGNORED


def test_a_refusal_challenges_and_says_why(client: Client) -> None:
    answer = client.post("/webhooks/partner", b"{}", "application/json")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "StandardWebhooks")
    assert "webhook-id is missing" in answer.json()["detail"]
    assert "X-Request-ID" in answer


def test_secrets_take_each_others_place(client: Client, settings: Settings) -> None:
    settings.PARTNER_WEBHOOK_SECRETS = [OTHER_SECRET, SECRET]
    assert Delivery(body(), secret=SECRET).send(client) == Delivery(body(), secret=OTHER_SECRET).send(client) == IGNORED
    settings.PARTNER_WEBHOOK_SECRETS = [OTHER_SECRET]
    assert Delivery(body(), secret=SECRET).send(client) == UNSIGNED
    settings.PARTNER_WEBHOOK_SECRETS = []
    assert Delivery(body(), secret=OTHER_SECRET).send(client) == UNSIGNED


def test_it_takes_posts_alone(client: Client) -> None:
    for method in (client.get, client.put, client.patch, client.delete):
        answer = method("/webhooks/partner")
        assert (answer.status_code, answer["Allow"]) == (405, "POST, OPTIONS")
    assert client.post("/webhooks/partner/").status_code == 404
    assert client.post("/webhooks/other").status_code == 404


def test_it_takes_no_parameters(client: Client) -> None:
    delivery = Delivery(body())
    answer = client.post("/webhooks/partner?x=1", delivery.body, "application/json", headers=delivery.headers)
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "x")


def test_other_credentials_are_nobodys_concern(client: Client) -> None:
    delivery = Delivery(body())
    headers = delivery.headers | {"Authorization": "Bearer a.b.c", "Cookie": "sessionid=x"}
    answer = client.post("/webhooks/partner", delivery.body, "application/json", headers=headers)
    assert answer.status_code == 200
    kept = WebhookEvent.objects.get().headers
    assert kept.keys() == {"webhook-id", "webhook-timestamp", "content-type"}


def test_a_refusal_asks_redis_nothing(client: Client) -> None:
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
# Whole ones, in which a member or two are something else.
nearly = st.builds(
    lambda event_type, envelope, data: body(**{"type": event_type, "data": data} | envelope),
    st.sampled_from([PRICE, STOCK, WITHDRAWN, "order.created"]),
    st.just({}) | st.dictionaries(st.sampled_from(["type", "timestamp", "data", "x"]), values, max_size=1),
    st.dictionaries(st.sampled_from(["product_id", "version", "price", "stock", "x"]), values, max_size=2).map(
        lambda changes: {"product_id": 1, "version": 1, "price": "47.50", "stock": 1} | changes
    ),
)
bodies = st.binary(max_size=200) | (envelopes | nearly).map(lambda found: json.dumps(found).encode())
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
def test_nothing_makes_it_fail(client: Client, sent: bytes, given_headers: dict[str, str]) -> None:
    status, said = Delivery(sent, **given_headers).send(client)
    assert (status, said) in {
        *((200, "ignored"), (200, "duplicate"), (401, "signature-invalid")),
        *((400, "bad-request"), (400, "invalid-parameter")),
    }


# With npm's reference library


def test_the_reference_library_of_npm_signs_what_we_take(client: Client) -> None:
    script = install_script("integrations/tests/standardwebhooks", "sign.mjs")
    product = make_offer()
    sent = json.dumps(event(product.pk, note="आम, caf\xe9, 🥭"), ensure_ascii=False)
    run = subprocess.run(["node", script, SECRET, "msg_of_npm", sent], capture_output=True, text=True, check=True)
    answer = client.post("/webhooks/partner", sent.encode(), "application/json", headers=json.loads(run.stdout))
    assert (answer.status_code, answer.json()) == (200, {"status": "processed"})


def test_the_example_of_the_specification() -> None:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, its symmetric one."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    sent = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(sent, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", secret) == expected
