"""The delay of an event: from its own timestamp to the commit of its effect, however often it is delivered."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY

from dev.testing.deliveries import Delivery, break_prices, event
from dev.testing.offers import make_offer
from integrations.models import WebhookEvent
from integrations.webhooks import backlog, inbox
from products.models import Product

pytestmark = [pytest.mark.usefixtures("clean_webhooks"), pytest.mark.usefixtures("live_database")]


@pytest.fixture
def product() -> Product:
    return make_offer()


class Delays:
    """What the histogram has gained since the test's start."""

    def __init__(self) -> None:
        self.before = self._read("count"), self._read("sum")

    def _read(self, kind: str) -> float:
        return REGISTRY.get_sample_value(f"farmlokal_webhook_delay_seconds_{kind}") or 0.0

    @property
    def number(self) -> float:
        return self._read("count") - self.before[0]

    @property
    def seconds(self) -> float:
        return self._read("sum") - self.before[1]


@pytest.fixture
def delays() -> Delays:
    return Delays()


def happened(seconds_ago: float, product: Product, **data: Any) -> Delivery:
    moment = timezone.now() - dt.timedelta(seconds=seconds_ago)
    return Delivery(event(product.pk, **data) | {"timestamp": moment.isoformat()})


def test_delay_counts_from_the_events_own_time(client: Client, product: Product, delays: Delays) -> None:
    assert happened(100, product).send(client) == (200, "processed")
    assert delays.number == 1
    assert 100 <= delays.seconds < 160


def test_failed_attempts_count_once_at_their_success(
    client: Client, product: Product, delays: Delays, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 2)
    delivery = happened(100, product)
    assert [delivery.send(client)[0] for _ in range(2)] == [500, 500]
    assert delays.number == 0
    assert delivery.send(client) == (200, "processed")
    assert delivery.send(client) == (200, "duplicate")
    assert delays.number == 1
    assert delays.seconds >= 100


def test_replayed_event_counts(
    client: Client, product: Product, delays: Delays, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 1)
    happened(100, product).send(client)
    assert inbox.replay(WebhookEvent.objects.latest("pk").pk, "asha") == "processed"
    assert delays.number == 1


def test_event_without_effect_has_no_delay(client: Client, product: Product, delays: Delays) -> None:
    happened(0, product, version=2).send(client)
    assert happened(100, product, version=1).send(client) == (200, "superseded")
    assert Delivery(event(product.pk + 1)).send(client) == (200, "ignored")
    assert delays.number == 1


def test_effect_that_is_rolled_back_does_not_count(client: Client, product: Product, delays: Delays) -> None:
    with transaction.atomic():
        assert happened(100, product).send(client) == (200, "processed")
        transaction.set_rollback(True)
    assert delays.number == 0


def test_event_of_the_future_counts_as_on_time(client: Client, product: Product, delays: Delays) -> None:
    happened(-100, product).send(client)
    assert (delays.number, delays.seconds) == (1, 0)


def test_backlog_is_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    WebhookEvent.objects.all().delete()
    WebhookEvent.objects.bulk_create(WebhookEvent(webhook_id=f"{n}", status="dead", payload=b"") for n in range(5))
    monkeypatch.setattr(backlog, "MAX_COUNTED", 3)
    assert backlog.numbers() == {"failed": 0, "dead": 3}
