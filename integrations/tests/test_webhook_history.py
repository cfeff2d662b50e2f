"""The history of products names the partner, and those who replay its events."""

from __future__ import annotations

import pytest
from django.test import Client

from dev.testing.deliveries import Delivery, break_prices, event
from dev.testing.offers import make_offers
from dev.testing.staff import make_staff
from farmlokal.acting import current_actor
from farmlokal.jobs.models import Job
from integrations.models import WebhookEvent
from integrations.sandbox.sender import STOCK, WITHDRAWN
from integrations.webhooks import inbox
from products.models import Product

pytestmark = [pytest.mark.usefixtures("clean_webhooks"), pytest.mark.django_db]


@pytest.fixture
def product() -> Product:
    (product,) = make_offers([{}])
    return product


def recorded(product: Product) -> list[tuple[str, dict[str, object]]]:
    return [(row.history_user, row.before) for row in product.history.order_by("history_id")]


def test_deliveries_record_by_the_partner(client: Client, product: Product) -> None:
    for delivery in (event(product.pk), event(product.pk, STOCK, stock=7), event(product.pk, WITHDRAWN)):
        assert Delivery(delivery).send(client) == (200, "processed")
    assert recorded(product) == [
        ("partner", {"price": "50.00"}),
        ("partner", {"stock": 0}),
        ("partner", {"is_active": True}),
    ]
    assert current_actor() == "system"


def test_unchanged_and_superseded_values_record_nothing(client: Client, product: Product) -> None:
    Delivery(event(product.pk, version=2, price="50.00")).send(client)
    Delivery(event(product.pk, version=1, price="60.00")).send(client)
    assert recorded(product) == []


def test_failed_event_records_nothing_and_its_replay_the_job(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        break_prices(broken, times=1)
        Delivery(event(product.pk)).send(client)
    assert recorded(product) == []
    client.force_login(make_staff("view_webhookevent", "replay_webhookevent", name="anna"))
    failed = WebhookEvent.objects.get()
    client.post("/admin/integrations/webhookevent/", {"action": "replay", "_selected_action": [failed.pk]})
    assert recorded(product) == [(f"job {Job.objects.get().pk} of anna", {"price": "50.00"})]


def test_replay_on_the_command_line_records_its_name(client: Client, product: Product) -> None:
    Delivery(event(product.pk + 1)).send(client)
    WebhookEvent.objects.update(payload=str(event(product.pk)).replace("'", '"').encode())
    assert inbox.replay(WebhookEvent.objects.get().pk, "asha") == "processed"
    assert recorded(product) == [("asha", {"price": "50.00"})]
