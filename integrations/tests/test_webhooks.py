"""What events do, and that each does it once."""

from __future__ import annotations

import itertools
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from dev.testing.deliveries import SECRET, Delivery, break_prices, event
from dev.testing.offers import make_offer
from farmlokal.observability import request_costs
from farmlokal.observability.metrics import exposition
from integrations.models import AppliedVersion, WebhookEvent
from integrations.sandbox.sender import PAUSES_SECONDS, PRICE, STOCK, WITHDRAWN
from integrations.tests.memory import clean_slate, redis_let_be
from integrations.webhooks import claims, handlers, inbox
from integrations.webhooks.claims import DONE_SECONDS
from products.models import Product

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean(settings: Settings) -> None:
    clean_slate()
    settings.PARTNER_WEBHOOK_SECRETS = [SECRET]


@pytest.fixture
def product() -> Product:
    return make_offer(price=Decimal("120.00"), stock=10)


def send(client: Client, product_id: int, event_type: str = PRICE, **data: Any) -> tuple[int, str]:
    return Delivery(event(product_id, event_type, **data)).send(client)


# Effects


def test_a_new_price_is_in_the_very_next_listing(client: Client, product: Product) -> None:
    assert client.get("/products").json()["results"][0]["price"] == "120.00"
    assert send(client, product.pk, price="47.50") == (200, "processed")
    assert client.get("/products").json()["results"][0]["price"] == "47.50"
    assert client.get("/products?sort=price&q=mango").json()["results"][0]["price"] == "47.50"


def test_a_new_stock_and_nothing_else(client: Client, product: Product) -> None:
    assert send(client, product.pk, STOCK, stock=0) == (200, "processed")
    after = client.get(f"/products/{product.pk}").json()
    assert (after["stock"], after["in_stock"], after["price"]) == (0, False, "120.00")


def test_a_withdrawn_product_is_not_listed(client: Client, product: Product) -> None:
    assert send(client, product.pk, WITHDRAWN) == (200, "processed")
    assert client.get("/products").json()["results"] == []
    assert client.get(f"/products/{product.pk}").status_code == 404
    assert send(client, product.pk, PRICE, version=2) == (200, "superseded")
    assert send(client, product.pk, WITHDRAWN, version=3) == (200, "superseded")


def test_what_is_not_known_is_kept_and_ignored(client: Client, product: Product) -> None:
    assert send(client, product.pk + 1) == (200, "ignored")
    assert send(client, product.pk, "product.painted", colour="green") == (200, "ignored")
    unknown_type, unknown_product = WebhookEvent.objects.all()
    assert (unknown_product.status, unknown_product.product_id) == ("ignored", product.pk + 1)
    assert (unknown_type.status, unknown_type.type, unknown_type.product_id) == ("ignored", "product.painted", None)
    assert not AppliedVersion.objects.exists()


# Order


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_in_any_order_the_highest_version_is_left(client: Client, product: Product, order: tuple[int, ...]) -> None:
    highest = 0
    for version in order:
        expected = "processed" if version > highest else "superseded"
        assert send(client, product.pk, version=version, price=f"{version}.00") == (200, expected)
        highest = max(highest, version)
    assert Product.objects.get().price == 3


def test_an_equal_version_changes_nothing(client: Client, product: Product) -> None:
    assert send(client, product.pk, version=5, price="5.00") == (200, "processed")
    assert send(client, product.pk, version=5, price="6.00") == (200, "superseded")
    assert Product.objects.get().price == 5


def test_versions_are_those_of_a_product_and_a_type(client: Client, product: Product) -> None:
    other = make_offer()
    assert send(client, product.pk, STOCK, version=9, stock=1) == (200, "processed")
    assert send(client, product.pk, PRICE, version=8, price="8.00") == (200, "processed")  # late, but it still counts
    assert send(client, other.pk, STOCK, version=1, stock=2) == (200, "processed")
    assert send(client, product.pk, STOCK, version=8, stock=3) == (200, "superseded")
    after = Product.objects.get(pk=product.pk)
    assert (after.price, after.stock) == (Decimal(8), 1)
    assert send(client, product.pk, version=2**63 - 1) == (200, "processed")


# Once


def test_a_copy_is_a_duplicate_for_one_redis_command(client: Client, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    assert delivery.send(client) == (200, "processed")
    with CaptureQueriesContext(connection) as queries:
        assert delivery.send(client) == (200, "duplicate")
        assert (request_costs.current.statements, request_costs.current.commands) == (0, 1)
    assert not queries.captured_queries
    assert Product.objects.get().version == 2


def test_while_it_is_claimed_a_copy_costs_no_sql(client: Client, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    claims.claim(delivery.webhook_id, "another")
    assert delivery.send(client) == (409, "webhook-in-progress")
    assert (request_costs.current.statements, request_costs.current.commands) == (0, 1)


@pytest.mark.parametrize("event_type", [PRICE, "product.painted"])
def test_where_redis_has_lost_it_mysql_knows(client: Client, product: Product, event_type: str) -> None:
    delivery = Delivery(event(product.pk, event_type))
    delivery.send(client)
    clean_slate()
    assert delivery.send(client) == (200, "duplicate")
    assert request_costs.current.statements > 0
    assert delivery.send(client) == (200, "duplicate")
    assert request_costs.current.statements == 0  # Redis knows again
    with redis_let_be():
        assert delivery.send(client) == (200, "duplicate")
    assert Product.objects.get().version == 2 - (event_type != PRICE)


def test_without_redis_each_counts_once_too(client: Client, product: Product) -> None:
    with redis_let_be():
        delivery = Delivery(event(product.pk))
        assert [delivery.send(client)[1] for _ in range(3)] == ["processed", "duplicate", "duplicate"]
    assert WebhookEvent.objects.get().attempts == 1


def test_ids_are_compared_byte_for_byte(client: Client, product: Product) -> None:
    for version, webhook_id in enumerate(["msg_a", "MSG_A", "msg_A", "msg_ab"], start=1):
        assert Delivery(event(product.pk, version=version), webhook_id).send(client) == (200, "processed")


def test_the_same_event_under_another_id_is_superseded(client: Client, product: Product) -> None:
    assert send(client, product.pk) == (200, "processed")
    assert send(client, product.pk) == (200, "superseded")


def test_redis_remembers_longer_than_a_sender_tries() -> None:
    assert sum(PAUSES_SECONDS) < DONE_SECONDS < 7 * 24 * 3600


# Failures


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "code", "kept"),
    [
        (UnprintableError(), "internal-error", ["failed"]),
        (OperationalError(1054, "Unknown column"), "internal-error", ["failed"]),
        *((OperationalError(number, "No space"), "database-unavailable", []) for number in (1021, 1030, 1114, 1317)),
        (OperationalError(1213, "Deadlock"), "webhook-in-progress", []),
    ],
)
def test_what_is_not_the_handlers_fault_is_not_held_against_the_event(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, kept: list[str]
) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise error

    monkeypatch.setitem(handlers.HANDLERS, PRICE, handlers.HANDLERS[PRICE]._replace(apply=fail))
    client.raise_request_exception = False
    assert Delivery(event(product.pk)).send(client)[1] == code
    assert [row.status for row in WebhookEvent.objects.all()] == kept


def test_a_failure_leaves_its_event_and_no_effect_and_the_retry_counts(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 1)
    delivery = Delivery(event(product.pk))
    assert delivery.send(client) == (500, "internal-error")
    row = WebhookEvent.objects.get()
    assert (row.status, row.attempts, row.error) == ("failed", 1, "RuntimeError: the handler is broken")
    assert not AppliedVersion.objects.exists()
    before = Product.objects.get()
    assert (before.price, before.version) == (Decimal(120), 1)
    assert client.get("/products").json()["results"][0]["price"] == "120.00"

    assert delivery.send(client) == (200, "processed")
    row.refresh_from_db()
    assert (row.status, row.attempts, row.error) == ("processed", 2, "")
    assert row.attempted_at > row.received_at
    assert delivery.send(client) == (200, "duplicate")
    assert Product.objects.get().price == Decimal("47.50")


def test_a_failure_tells_nothing_of_the_inside(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 1)
    delivery = Delivery(event(product.pk))
    answer = client.post("/webhooks/partner", delivery.body, "application/json", headers=delivery.headers)
    assert answer["Content-Type"] == "application/problem+json"
    assert b"broken" not in answer.content


def test_after_ten_attempts_it_is_dead(client: Client, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    break_prices(monkeypatch, inbox.MAX_ATTEMPTS)
    delivery = Delivery(event(product.pk))
    for _ in range(inbox.MAX_ATTEMPTS):
        assert delivery.send(client) == (500, "internal-error")
    row = WebhookEvent.objects.get()
    assert (row.status, row.attempts) == ("dead", 10)
    assert delivery.send(client) == (500, "internal-error")  # nobody tried: it would have counted
    row.refresh_from_db()
    assert (row.status, row.attempts) == ("dead", 10)
    assert inbox.replay(row.pk, "asha") == "processed"
    assert delivery.send(client) == (200, "duplicate")


def test_a_retry_with_another_body_is_what_the_log_has(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 1)
    first = Delivery(event(product.pk, price="1.00"), "msg_1")
    second = Delivery(event(product.pk, STOCK, stock=3), "msg_1")
    assert [one.send(client)[0] for one in (first, second)] == [500, 200]
    row = WebhookEvent.objects.get()
    assert (row.type, bytes(row.payload), row.attempts) == (STOCK, second.body, 2)
    assert first.send(client) == (200, "duplicate")
    after = Product.objects.get()
    assert (after.price, after.stock) == (Decimal(120), 3)


def test_a_failed_event_does_not_hold_up_others(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 1)
    failed = Delivery(event(product.pk, version=1, price="1.00"))
    assert failed.send(client)[0] == 500
    assert send(client, product.pk, version=2, price="2.00") == (200, "processed")
    assert failed.send(client) == (200, "superseded")
    assert Product.objects.get().price == 2


# The log and the figures


def test_the_log_has_the_body_as_it_came(client: Client, product: Product) -> None:
    body = json.dumps(event(product.pk, note="आम"), ensure_ascii=False, indent=3).encode()
    delivery = Delivery(body)
    delivery.send(client)
    row = WebhookEvent.objects.get()
    assert (row.source, row.webhook_id, row.type, row.product_id) == ("partner", delivery.webhook_id, PRICE, product.pk)
    assert bytes(row.payload) == body
    assert row.headers["webhook-id"] == delivery.webhook_id
    assert "webhook-signature" not in row.headers


def count_of(event_type: str, status: str) -> float:
    line = rf'^farmlokal_webhooks_total\{{status="{status}",type="{event_type}"\}} (\S+)$'
    found = re.search(line, exposition({}, {}).decode(), re.MULTILINE)
    return float(found[1]) if found else 0


def test_each_outcome_is_counted(client: Client, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [(PRICE, "processed"), (PRICE, "duplicate"), (PRICE, "superseded"), ("other", "ignored"), (PRICE, "failed")]
    before = [count_of(*kind) for kind in kinds]
    delivery = Delivery(event(product.pk))
    delivery.send(client)
    delivery.send(client)
    send(client, product.pk)
    send(client, product.pk, "product.painted")
    break_prices(monkeypatch, 1)
    send(client, product.pk, version=2)
    assert [count_of(*kind) for kind in kinds] == [number + 1 for number in before]
