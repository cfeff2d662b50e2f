"""GET /products/{id}/delivery-quote, with a partner on a real socket that fails in many ways."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

from accounts import shared_value
from dev.testing.offers import make_offer
from dev.testing.partner import FAILURES_TO_OPEN, partner, settings_for
from dev.testing.redis_keys import forget_keys, own_keys, shared_redis
from dev.testing.servers import Daemon
from dev.testing.sockets import blackhole
from farmlokal.http.problems import Problem
from farmlokal.outbound.client import Answer
from integrations.exceptions import FailedError
from integrations.partner import quotes
from integrations.partner.client import client as partner_client
from integrations.partner.client import read_quote
from integrations.sandbox.faults import Faults
from integrations.sandbox.server import Sandbox
from integrations.tests.memory import reset_all, reset_process, without_redis
from products.models import Product

pytestmark = pytest.mark.django_db
DEADLINE = 10.0
SHORT_DEADLINE = 1.0


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[Sandbox]:
    reset_all()
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


def test_quote_of_a_product(client: Client, product: Product) -> None:
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


def test_quote_where_nothing_is_delivered(client: Client, product: Product) -> None:
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
def test_error_names_the_bad_parameter(client: Client, product: Product, query: str, parameter: str) -> None:
    answer = client.get(f"/products/{product.pk}/delivery-quote{query}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, parameter)


def test_unlisted_product_is_404(client: Client, sandbox: Sandbox, product: Product) -> None:
    for pk in (product.pk + 1, "9" * 19, "9" * 5000):
        assert client.get(f"/products/{pk}/delivery-quote?pincode=560001").status_code == 404
    assert ask(client, product)["status_code"] == 200
    Product.objects.update(is_active=False)
    assert ask(client, product)["status_code"] == 404
    assert sandbox.calls["quotes"] == 1


def test_only_get_and_head_are_allowed(client: Client, product: Product) -> None:
    assert client.post(f"/products/{product.pk}/delivery-quote?pincode=560001").status_code == 405
    head = client.head(f"/products/{product.pk}/delivery-quote?pincode=560001")
    assert (head.status_code, head.content) == (200, b"")


def test_without_a_configured_partner_it_is_503(client: Client, product: Product, settings: Settings) -> None:
    settings.PARTNER_API_URL = ""
    assert refused(ask(client, product)) == (503, "partner-unavailable")


# Fresh, stale, shared


def test_processes_share_a_fresh_quote(client: Client, product: Product, sandbox: Sandbox) -> None:
    first, second = ask(client, product), ask(client, product)
    assert first == second
    reset_process()
    assert ask(client, product) == first  # another process
    assert sandbox.calls["quotes"] == 1
    assert ask(client, product, "560002") != first


def test_old_quote_is_fetched_again(client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any) -> None:
    first = ask(client, product)
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    assert ask(client, product)["quoted_at"] > first["quoted_at"]
    assert sandbox.calls["quotes"] == 2


FAILING: dict[str, dict[str, Any]] = {
    "errors": {"error_rate": 1},
    "is too slow": {"latency_ms": 5000},
    "sends bad JSON": {"how": "bad-json"},
}


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_last_good_quote_stands_in(
    client: Client, product: Product, sandbox: Sandbox, settings: Settings, monkeypatch: Any, how: str, redis_is: str
) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    good = ask(client, product)
    sandbox.faults = Faults(**FAILING[how])
    settings.PARTNER_DEADLINE_SECONDS = SHORT_DEADLINE
    if redis_is == "there":
        reset_process()
        assert ask(client, product) == good | {"stale": True}
    else:
        with without_redis():
            assert ask(client, product) == good | {"stale": True}


def test_last_good_quote_stands_in_for_a_day(
    client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any
) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    ask(client, product)
    sandbox.faults = Faults(error_rate=1)
    assert ask(client, product)["stale"]
    with shared_redis() as in_redis:
        (stored,) = own_keys(in_redis, ":quote:")
        assert 86_000 < in_redis.ttl(stored) <= 86_400
        in_redis.delete(stored)
    monkeypatch.setattr(quotes, "KEPT_SECONDS", 0)
    assert refused(ask(client, product)) == (503, "partner-unavailable")


def test_last_good_quote_stands_in_after_the_clock_was_set_back(
    client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any
) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)):
        good = ask(client, product)
    sandbox.faults = Faults(error_rate=1)
    assert ask(client, product) == good | {"stale": True}


def test_last_good_quote_does_not_hide_a_rejection(
    client: Client, product: Product, sandbox: Sandbox, monkeypatch: Any
) -> None:
    monkeypatch.setattr(quotes, "FRESH_SECONDS", 0)
    ask(client, product)
    for status in (400, 404, 422):
        sandbox.faults = Faults(error_rate=1, status=status)
        assert refused(ask(client, product)) == (502, "partner-rejected")


@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_threads_share_one_call(sandbox: Sandbox, redis_is: str) -> None:
    sandbox.faults = Faults(latency_ms=200)
    together = threading.Barrier(50)

    def go(_: int) -> tuple[quotes.Quoted, bool]:
        together.wait()
        return quotes.get_quote(1, "560001", time.monotonic() + 5)

    with ThreadPoolExecutor(50) as pool:
        if redis_is == "away":
            with without_redis():
                found = list(pool.map(go, range(50)))
        else:
            found = list(pool.map(go, range(50)))
    assert sandbox.calls["quotes"] == 1
    assert all(one == found[0] for one in found)


def test_threads_share_a_failure(sandbox: Sandbox) -> None:
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


# Failures


def test_partner_that_is_down_is_503(client: Client, product: Product, sandbox: Sandbox) -> None:
    sandbox.faults = Faults(error_rate=1)
    answer = ask(client, product)
    assert refused(answer) == (503, "partner-unavailable")
    assert answer["retry_after"] == "1"


@pytest.mark.parametrize(("seconds", "passed_on"), [(120, "120"), (3600, "300")])
def test_retry_after_is_passed_on_up_to_five_minutes(
    client: Client, product: Product, sandbox: Sandbox, seconds: int, passed_on: str
) -> None:
    sandbox.faults = Faults(error_rate=1, status=429, retry_after=seconds)
    answer = ask(client, product)
    assert (*refused(answer), answer["retry_after"]) == (503, "partner-unavailable", passed_on)


def test_open_breaker_opens_no_socket(client: Client, product: Product, sandbox: Sandbox) -> None:
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
def test_process_remembers_that_the_breaker_was_open(
    client: Client, product: Product, sandbox: Sandbox, then: str
) -> None:
    for _ in range(FAILURES_TO_OPEN):
        partner_client.breaker.admit()("bad")
    reset_process()  # another process
    assert refused(ask(client, product)) == (503, "partner-unavailable")
    if then == "emptied":
        forget_keys()
        assert refused(ask(client, product)) == (503, "partner-unavailable")
    else:
        with without_redis():
            assert refused(ask(client, product)) == (503, "partner-unavailable")
    assert sandbox.calls["quotes"] == 0


def test_failing_token_provider_does_not_count_for_the_breaker(
    client: Client, product: Product, sandbox: Sandbox, settings: Settings
) -> None:
    settings.OAUTH_TOKEN_URL = f"{sandbox.url}/nothing"
    assert refused(ask(client, product)) == (503, "partner-unavailable")
    assert partner_client.breaker.status().calls == 0  # type: ignore[union-attr]


def test_slow_token_provider_is_504_by_the_deadline(
    client: Client, product: Product, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_value, "FETCH_SECONDS", 60)
    settings.PARTNER_DEADLINE_SECONDS = SHORT_DEADLINE
    with blackhole() as port:
        settings.OAUTH_TOKEN_URL = f"http://127.0.0.1:{port}/token"
        began = time.monotonic()
        assert refused(ask(client, product)) == (504, "partner-timeout")
        assert time.monotonic() - began < 30


def test_revoked_token_is_replaced(
    client: Client, product: Product, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_value, "APART_SECONDS", 0)
    ask(client, product)
    sandbox.provider.key = type(sandbox.provider.key)()  # it signed the old token
    assert ask(client, product, "560002")["status_code"] == 200
    assert sandbox.calls["tokens"] == 2


# Answers of the partner


@pytest.mark.parametrize(
    ("body", "fee", "hours"),
    [
        ('{"available": true, "fee": "45.00", "currency": "INR", "eta_hours": 24}', "45.00", 24),
        ('{"available": true, "fee": 45, "currency": "INR", "eta_hours": 1.5}', "45.00", 1.5),
        ('{"available": true, "fee": 45.5, "currency": "INR", "eta_hours": 0, "more": []}', "45.50", 0),
        ('{"available": true, "fee": 0.1, "currency": "INR", "eta_hours": 24.0}', "0.10", 24),
    ],
)
def test_answer_that_is_a_quote(body: str, fee: str, hours: float) -> None:
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
def test_answer_that_is_no_quote(body: bytes) -> None:
    with pytest.raises(FailedError):
        read_quote(Answer(200, {}, body))


def test_quote_ends_at_its_deadline_while_redis_hangs(
    product: Product, redis_alone: Daemon, settings: Settings
) -> None:
    settings.REDIS_TIMEOUT_SECONDS = 30
    quotes.get_quote(product.pk, "560001", time.monotonic() + DEADLINE)
    redis_alone.freeze()
    begun = time.monotonic()
    with pytest.raises(Problem, match="in time"):
        quotes.get_quote(product.pk, "560002", begun + 0.5)
    assert time.monotonic() - begun < 10, "it waited for Redis, which has 30 s"
    redis_alone.thaw()
