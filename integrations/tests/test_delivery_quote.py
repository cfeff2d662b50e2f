"""GET /products/{id}/delivery-quote, with a partner on a real socket that fails as it is told to."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.core.management import call_command

from dev.testing.offers import make_offer
from dev.testing.partner import FAILURES_TO_OPEN, partner, settings_for
from dev.testing.sockets import blackhole
from farmlokal.http.problems import Problem
from farmlokal.outbound.client import Answer
from integrations.exceptions import FailedError
from integrations.partner import quotes
from integrations.partner.client import client as partner_client
from integrations.partner.client import read_quote
from integrations.sandbox.faults import Faults
from integrations.tests.memory import clean_slate, forgetful, redis_let_be
from products.models import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client
    from pytest_django.fixtures import Settings

    from dev.testing.servers import Daemon
    from integrations.sandbox.server import Sandbox

pytestmark = pytest.mark.django_db
DEADLINE = 1.0


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[Sandbox]:
    clean_slate()
    settings.PARTNER_DEADLINE_SECONDS = DEADLINE
    with partner() as found:
        for name, value in settings_for(found).items():
            setattr(settings, name, value)
        yield found


@pytest.fixture
def product(sandbox: Sandbox) -> Product:
    return make_offer()


def ask(client: Client, product: Product, pincode: str = "560001") -> Any:
    answer = client.get(f"/products/{product.pk}/delivery-quote?pincode={pincode}")
    return answer.json() | {"status_code": answer.status_code, "retry_after": answer.headers.get("Retry-After")}


def refused(answer: Any) -> tuple[int, str]:
    return answer["status_code"], answer["code"]


# The contract


def test_a_quote(client: Client, product: Product) -> None:
    answer = client.get(f"/products/{product.pk}/delivery-quote?pincode=560001")
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    quote = answer.json()
    assert list(quote) == ["product_id", "pincode", "available", "fee", "currency", "eta_hours", "quoted_at", "stale"]
    assert (quote["product_id"], quote["pincode"], quote["available"]) == (product.pk, "560001", True)
    assert (quote["currency"], quote["stale"]) == ("INR", False)
    assert isinstance(quote["fee"], str)
    assert quote["fee"][-3] == "."
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(quote["quoted_at"])
    assert dt.timedelta(0) <= age < dt.timedelta(seconds=5)


def test_where_nothing_is_delivered(client: Client, product: Product) -> None:
    quote = ask(client, product, "900001")
    assert (quote["available"], quote["fee"], quote["currency"], quote["eta_hours"]) == (False, None, None, None)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "pincode"),
        ("?pincode=", "pincode"),
        ("?pincode=012345", "pincode"),
        ("?pincode=12345", "pincode"),
        ("?pincode=1234567", "pincode"),
        ("?pincode=56000%D9%A1", "pincode"),
        ("?pincode=560001%0A", "pincode"),
        ("?pincode=560001&pincode=560001", "pincode"),
        ("?pincode=560001&weight=3", "weight"),
    ],
)
def test_a_bad_parameter_is_named(client: Client, product: Product, query: str, parameter: str) -> None:
    answer = client.get(f"/products/{product.pk}/delivery-quote{query}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, parameter)


def test_a_product_that_is_not_there(client: Client, sandbox: Sandbox, product: Product) -> None:
    assert client.get(f"/products/{product.pk + 1}/delivery-quote?pincode=560001").status_code == 404
    assert ask(client, product)["status_code"] == 200
    Product.objects.update(is_active=False)
    assert ask(client, product)["status_code"] == 404
    assert sandbox.calls["quotes"] == 1


def test_other_methods(client: Client, product: Product) -> None:
    assert client.post(f"/products/{product.pk}/delivery-quote?pincode=560001").status_code == 405
    head = client.head(f"/products/{product.pk}/delivery-quote?pincode=560001")
    assert (head.status_code, head.content) == (200, b"")


def test_without_a_partner(client: Client, product: Product, settings: Settings) -> None:
    settings.PARTNER_API_URL = ""
    assert refused(ask(client, product)) == (503, "partner-unavailable")


# Fresh, stale, shared


def test_a_quote_is_fresh_for_half_a_minute(client: Client, product: Product, sandbox: Sandbox) -> None:
    first, second = ask(client, product), ask(client, product)
    assert first == second
    forgetful()
    assert ask(client, product) == first  # another process
    assert sandbox.calls["quotes"] == 1
    assert ask(client, product, "560002") != first


def test_after_that_it_is_asked_for_again(client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0.2)
    first = ask(client, product)
    time.sleep(0.3)
    assert ask(client, product)["quoted_at"] > first["quoted_at"]
    assert sandbox.calls["quotes"] == 2


FAILING: dict[str, dict[str, Any]] = {
    "errors": {"error_rate": 1},
    "is too slow": {"latency_ms": 5000},
    "talks nonsense": {"how": "bad-json"},
}


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_the_last_good_quote_stands_in(
    client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any, how: str, redis_is: str
) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    good = ask(client, product)
    sandbox.faults = Faults(**FAILING[how])
    if redis_is == "there":
        forgetful()
        assert ask(client, product) == good | {"stale": True}
    else:
        with redis_let_be():
            assert ask(client, product) == good | {"stale": True}


def test_for_a_day(client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    monkeypatch.setattr(quotes, "KEPT_SECONDS", 1)
    ask(client, product)
    sandbox.faults = Faults(error_rate=1)
    assert ask(client, product)["stale"]
    time.sleep(1.1)
    assert refused(ask(client, product)) == (503, "partner-unavailable")


def test_a_refusal_is_not_covered_up(client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    ask(client, product)
    for status in (400, 404, 422):
        sandbox.faults = Faults(error_rate=1, status=status)
        assert refused(ask(client, product)) == (502, "partner-rejected")


@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_threads_that_ask_for_the_same_at_once_are_one_call(sandbox: Sandbox, redis_is: str) -> None:
    sandbox.faults = Faults(latency_ms=200)
    together = threading.Barrier(50)

    def go(_: int) -> tuple[quotes.Quoted, bool]:
        together.wait()
        return quotes.get_quote(1, "560001", time.monotonic() + 5)

    with ThreadPoolExecutor(50) as pool:
        if redis_is == "away":
            with redis_let_be():
                found = list(pool.map(go, range(50)))
        else:
            found = list(pool.map(go, range(50)))
    assert sandbox.calls["quotes"] == 1
    assert all(one == found[0] for one in found)


def test_they_share_a_failure_too(sandbox: Sandbox) -> None:
    sandbox.faults = Faults(latency_ms=200, error_rate=1, status=404)

    def go(_: int) -> str:
        try:
            quotes.get_quote(1, "560001", time.monotonic() + 5)
        except Problem as problem:
            return problem.code
        return ""

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(go, range(20))) == {"partner-rejected"}
    assert sandbox.calls["quotes"] == 1


# What fails


def test_a_partner_that_is_down(client: Client, product: Product, sandbox: Sandbox) -> None:
    sandbox.faults = Faults(error_rate=1)
    answer = ask(client, product)
    assert refused(answer) == (503, "partner-unavailable")
    assert answer["retry_after"] == "1"


def test_what_the_partner_asks_to_wait_is_handed_on_up_to_five_minutes(
    client: Client, product: Product, sandbox: Sandbox
) -> None:
    for asked, told in ((120, "120"), (3600, "300")):
        sandbox.faults = Faults(error_rate=1, status=429, retry_after=asked)
        answer = ask(client, product)
        assert (*refused(answer), answer["retry_after"]) == (503, "partner-unavailable", told)


def test_an_open_breaker_opens_no_socket(client: Client, product: Product, sandbox: Sandbox) -> None:
    call_command("breaker", "partner", "--open")
    answer = ask(client, product)
    assert (*refused(answer), answer["retry_after"]) == (503, "partner-unavailable", "60")
    assert client.get("/readyz").json()["breakers"] == {"partner": "open"}
    assert client.get("/readyz").json()["status"] == "degraded"
    assert 'farmlokal_breaker_state{name="partner"} 2.0' in client.get("/metrics").content.decode()
    assert sandbox.calls == {"tokens": 0, "quotes": 0}
    call_command("breaker", "partner", "--close")
    assert ask(client, product)["status_code"] == 200


@pytest.mark.parametrize("then", ["emptied", "away"])
def test_a_process_that_has_only_seen_it_open_keeps_it_open(
    client: Client, product: Product, sandbox: Sandbox, then: str
) -> None:
    for _ in range(FAILURES_TO_OPEN):
        partner_client.breaker.admit()("bad")
    forgetful()  # another process
    assert refused(ask(client, product)) == (503, "partner-unavailable")
    if then == "emptied":
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as emptied:
            emptied.flushdb()
        assert refused(ask(client, product)) == (503, "partner-unavailable")
    else:
        with redis_let_be():
            assert refused(ask(client, product)) == (503, "partner-unavailable")
    assert sandbox.calls["quotes"] == 0


def test_a_token_provider_that_is_down_is_not_the_partners_fault(
    client: Client, product: Product, sandbox: Sandbox, settings: Settings
) -> None:
    settings.OAUTH_TOKEN_URL = f"{sandbox.url}/nothing"
    assert refused(ask(client, product)) == (503, "partner-unavailable")
    assert partner_client.breaker.status().calls == 0  # type: ignore[union-attr]


def test_a_token_provider_that_is_too_slow(client: Client, product: Product, settings: Settings) -> None:
    with blackhole() as port:
        settings.OAUTH_TOKEN_URL = f"http://127.0.0.1:{port}/token"
        began = time.monotonic()
        assert refused(ask(client, product)) == (504, "partner-timeout")
        assert time.monotonic() - began < DEADLINE + 1


def test_a_revoked_token_is_replaced(client: Client, product: Product, sandbox: Sandbox) -> None:
    ask(client, product)
    sandbox.provider.key = type(sandbox.provider.key)()  # all that was signed by the old one is void
    time.sleep(1)  # one token a second
    assert ask(client, product, "560002")["status_code"] == 200
    assert sandbox.calls["tokens"] == 2


# What counts as a quote


@pytest.mark.parametrize(
    ("body", "fee", "hours"),
    [
        ('{"available": true, "fee": "45.00", "currency": "INR", "eta_hours": 24}', "45.00", 24),
        ('{"available": true, "fee": 45, "currency": "INR", "eta_hours": 1.5}', "45.00", 1.5),
        ('{"available": true, "fee": 45.5, "currency": "INR", "eta_hours": 0, "more": []}', "45.50", 0),
        ('{"available": true, "fee": 0.1, "currency": "INR", "eta_hours": 24.0}', "0.10", 24),
    ],
)
def test_what_is_a_quote(body: str, fee: str, hours: float) -> None:
    quote = read_quote(Answer(200, {}, body.encode()))
    assert (quote["fee"], quote["eta_hours"]) == (fee, hours)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b"<html>",
        b"{}",
        b'{"available": "yes"}',
        b'{"available": true}',
        *(
            f'{{"available": true, "fee": {fee}, "currency": "INR", "eta_hours": 1}}'.encode()
            for fee in ["-1", "NaN", "Infinity", '"much"', "1.005", "1e999999", "1e8", "true", "null", "[]", '"NaN"']
        ),
        *(
            f'{{"available": true, "fee": 1, "currency": {currency}, "eta_hours": 1}}'.encode()
            for currency in ["null", '"inr"', '"INR "', "1"]
        ),
        *(
            f'{{"available": true, "fee": 1, "currency": "INR", "eta_hours": {hours}}}'.encode()
            for hours in ["-1", "NaN", "true", '"1"', "1e999999", "9" * 5000]
        ),
    ],
)
def test_what_is_none(body: bytes) -> None:
    with pytest.raises(FailedError):
        read_quote(Answer(200, {}, body))


def test_quote_ends_at_its_deadline_while_redis_hangs(
    product: Product, redis_alone: Daemon, settings: Settings
) -> None:
    there = settings.CACHES["default"]
    settings.CACHES = {"default": there | {"OPTIONS": there["OPTIONS"] | {"SOCKET_TIMEOUT": 30}}}
    quotes.get_quote(product.pk, "560001", time.monotonic() + DEADLINE)
    redis_alone.freeze()
    begun = time.monotonic()
    with pytest.raises(Problem, match="in time"):
        quotes.get_quote(product.pk, "560002", begun + 0.5)
    assert time.monotonic() - begun < 10, "it waited for Redis, which has 30 s"
    redis_alone.thaw()
