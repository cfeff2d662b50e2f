"""The effects of events, and that each event has its effect once."""

from __future__ import annotations

import itertools
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dev.testing.deliveries import Delivery, break_prices, event
from dev.testing.offers import make_offer
from farmlokal.observability import request_costs
from farmlokal.observability.metrics import exposition
from integrations.models import AppliedVersion, WebhookEvent
from integrations.sandbox.sender import PAUSES_SECONDS, PRICE, STOCK, WITHDRAWN
from integrations.tests.memory import reset_all, without_redis
from integrations.webhooks import claims, handlers, inbox
from integrations.webhooks.claims import DONE_SECONDS
from products.models import Product

pytestmark = [pytest.mark.usefixtures("clean_webhooks"), pytest.mark.django_db]


@pytest.fixture
def product() -> Product:
    return make_offer(price=Decimal("120.00"), stock=10)


def send(client: Client, product_id: int, event_type: str = PRICE, **data: Any) -> tuple[int, str]:
    return Delivery(event(product_id, event_type, **data)).send(client)


# Effects


def test_new_price_is_in_the_next_listing(client: Client, product: Product) -> None:
    assert client.get("/products").json()["results"][0]["price"] == "120.00"
    assert send(client, product.pk, price="47.50") == (200, "processed")
    assert client.get("/products").json()["results"][0]["price"] == "47.50"
    assert client.get("/products?sort=price&q=mango").json()["results"][0]["price"] == "47.50"


def test_new_stock_changes_nothing_else(client: Client, product: Product) -> None:
    assert send(client, product.pk, STOCK, stock=0) == (200, "processed")
    after = client.get(f"/products/{product.pk}").json()
    assert (after["stock"], after["in_stock"], after["price"]) == (0, False, "120.00")


def test_withdrawn_product_is_not_listed(client: Client, product: Product) -> None:
    assert send(client, product.pk, WITHDRAWN) == (200, "processed")
    assert client.get("/products").json()["results"] == []
    assert client.get(f"/products/{product.pk}").status_code == 404
    assert send(client, product.pk, PRICE, version=2) == (200, "superseded")
    assert send(client, product.pk, WITHDRAWN, version=3) == (200, "superseded")


def test_unknown_type_or_product_is_logged_and_ignored(client: Client, product: Product) -> None:
    assert send(client, product.pk + 1) == (200, "ignored")
    assert send(client, product.pk, "product.painted", colour="green") == (200, "ignored")
    unknown_type, unknown_product = WebhookEvent.objects.all()
    assert (unknown_product.status, unknown_product.product_id) == ("ignored", product.pk + 1)
    assert (unknown_type.status, unknown_type.type, unknown_type.product_id) == ("ignored", "product.painted", None)
    assert not AppliedVersion.objects.exists()


# Order


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_highest_version_wins_in_any_order(client: Client, product: Product, order: tuple[int, ...]) -> None:
    highest = 0
    for version in order:
        expected = "processed" if version > highest else "superseded"
        assert send(client, product.pk, version=version, price=f"{version}.00") == (200, expected)
        highest = max(highest, version)
    assert Product.objects.get().price == 3


def test_equal_version_changes_nothing(client: Client, product: Product) -> None:
    assert send(client, product.pk, version=5, price="5.00") == (200, "processed")
    assert send(client, product.pk, version=5, price="6.00") == (200, "superseded")
    assert Product.objects.get().price == 5


def test_versions_count_by_product_and_type(client: Client, product: Product) -> None:
    other = make_offer()
    assert send(client, product.pk, STOCK, version=9, stock=1) == (200, "processed")
    assert send(client, product.pk, PRICE, version=8, price="8.00") == (200, "processed")  # of another type
    assert send(client, other.pk, STOCK, version=1, stock=2) == (200, "processed")
    assert send(client, product.pk, STOCK, version=8, stock=3) == (200, "superseded")
    after = Product.objects.get(pk=product.pk)
    assert (after.price, after.stock) == (Decimal(8), 1)
    assert send(client, product.pk, version=2**63 - 1) == (200, "processed")


# Copies


def test_copy_is_a_duplicate_for_one_redis_command(client: Client, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    assert delivery.send(client) == (200, "processed")
    with CaptureQueriesContext(connection) as queries:
        assert delivery.send(client) == (200, "duplicate")
        assert (request_costs.current.statements, request_costs.current.commands) == (0, 1)
    assert not queries.captured_queries
    assert Product.objects.get().version == 2


def test_copy_of_claimed_event_costs_no_sql(client: Client, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    claims.claim(delivery.webhook_id, "another")
    assert delivery.send(client) == (409, "webhook-in-progress")
    assert (request_costs.current.statements, request_costs.current.commands) == (0, 1)


@pytest.mark.parametrize("event_type", [PRICE, "product.painted"])
def test_mysql_knows_duplicates_that_redis_lost(client: Client, product: Product, event_type: str) -> None:
    delivery = Delivery(event(product.pk, event_type))
    delivery.send(client)
    reset_all()
    assert delivery.send(client) == (200, "duplicate")
    assert request_costs.current.statements > 0
    assert delivery.send(client) == (200, "duplicate")
    assert request_costs.current.statements == 0  # Redis knows again
    with without_redis():
        assert delivery.send(client) == (200, "duplicate")
    assert Product.objects.get().version == 2 - (event_type != PRICE)


def test_event_has_one_effect_without_redis(client: Client, product: Product) -> None:
    with without_redis():
        delivery = Delivery(event(product.pk))
        assert [delivery.send(client)[1] for _ in range(3)] == ["processed", "duplicate", "duplicate"]
    assert WebhookEvent.objects.get().attempts == 1


def test_ids_are_compared_byte_by_byte(client: Client, product: Product) -> None:
    for version, webhook_id in enumerate(["msg_a", "MSG_A", "msg_A", "msg_ab"], start=1):
        assert Delivery(event(product.pk, version=version), webhook_id).send(client) == (200, "processed")


def test_same_event_under_another_id_is_superseded(client: Client, product: Product) -> None:
    assert send(client, product.pk) == (200, "processed")
    assert send(client, product.pk) == (200, "superseded")


def test_redis_remembers_longer_than_senders_retry() -> None:
    assert sum(PAUSES_SECONDS) < DONE_SECONDS < 7 * 24 * 3600


# Failures


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "code", "statuses"),
    [
        (UnprintableError(), "internal-error", ["failed"]),
        (OperationalError(1054, "Unknown column"), "internal-error", ["failed"]),
        *((OperationalError(number, "No space"), "database-unavailable", []) for number in (1021, 1030, 1114, 1317)),
        (OperationalError(1213, "Deadlock"), "webhook-in-progress", []),
    ],
)
def test_only_handler_errors_are_logged_as_failures(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, statuses: list[str]
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setitem(handlers.HANDLERS, PRICE, handlers.HANDLERS[PRICE]._replace(apply=fail))
    client.raise_request_exception = False
    assert Delivery(event(product.pk)).send(client)[1] == code
    assert [row.status for row in WebhookEvent.objects.all()] == statuses


def test_failed_event_has_no_effect_until_a_retry_succeeds(
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


def test_failure_reveals_nothing_internal(client: Client, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    break_prices(monkeypatch, 1)
    delivery = Delivery(event(product.pk))
    answer = client.post("/webhooks/partner", delivery.body, "application/json", headers=delivery.headers)
    assert answer["Content-Type"] == "application/problem+json"
    assert b"broken" not in answer.content


def test_event_is_dead_after_ten_attempts(client: Client, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    break_prices(monkeypatch, inbox.MAX_ATTEMPTS)
    delivery = Delivery(event(product.pk))
    for _ in range(inbox.MAX_ATTEMPTS):
        assert delivery.send(client) == (500, "internal-error")
    row = WebhookEvent.objects.get()
    assert (row.status, row.attempts) == ("dead", 10)
    assert delivery.send(client) == (500, "internal-error")  # no attempt: it would have succeeded
    row.refresh_from_db()
    assert (row.status, row.attempts) == ("dead", 10)
    assert inbox.replay(row.pk, "asha") == "processed"
    assert delivery.send(client) == (200, "duplicate")


def test_log_has_the_body_of_the_retry_that_succeeded(
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


def test_failed_event_does_not_block_newer_ones(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 1)
    failed = Delivery(event(product.pk, version=1, price="1.00"))
    assert failed.send(client)[0] == 500
    assert send(client, product.pk, version=2, price="2.00") == (200, "processed")
    assert failed.send(client) == (200, "superseded")
    assert Product.objects.get().price == 2


# Log and metrics


def test_log_has_the_body_unchanged(client: Client, product: Product) -> None:
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
    match = re.search(line, exposition({}, {}, {}).decode(), re.MULTILINE)
    return float(match[1]) if match else 0


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
