"""Jobs that replay events of the log: which events, in which order, and each once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from dev.testing.deliveries import Delivery, break_prices, event
from dev.testing.jobs import finish
from dev.testing.offers import make_offer
from farmlokal.jobs import steps
from farmlokal.jobs.models import Job
from integrations.models import WebhookEvent, WebhookReplay
from integrations.webhooks import jobs
from integrations.webhooks.jobs import REPLAY, query_of, query_of_ids
from integrations.webhooks.log_filters import Filters
from products.models import Product

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clean_webhooks")]


@pytest.fixture
def product() -> Product:
    return make_offer()


def deliver(client: Client, product_id: int, **data: Any) -> WebhookEvent:
    delivery = Delivery(event(product_id, **data))
    delivery.send(client)
    return WebhookEvent.objects.get(webhook_id=delivery.webhook_id)


def ignore(client: Client, product: Product, count: int) -> list[WebhookEvent]:
    """Events of a product, as if they had been ignored."""
    events = [deliver(client, product.pk + 1, version=n + 1) for n in range(count)]
    Product.objects.filter(pk=product.pk).update(id=product.pk + 1)
    return events


def run(query: str) -> Job:
    return finish(steps.start(REPLAY, "asha", filter=query))


def numbers(job: Job) -> tuple[int, int, int]:
    return job.done, job.changed, job.failed


def test_matching_events_are_replayed_once_oldest_first(client: Client, product: Product) -> None:
    events = ignore(client, product, 5)
    job = run(query_of(Filters(status="ignored")))
    assert (job.status, numbers(job), job.total) == ("finished", (5, 5, 0), 5)
    replays = WebhookReplay.objects.order_by("id").values_list("event_id", "outcome", "by")
    assert list(replays) == [(one.pk, "processed", f"job {job.pk} of asha") for one in events]


def test_selection_that_is_pruned_replays_nothing(admin_client: Client, product: Product) -> None:
    (one,) = ignore(admin_client, product, 1)
    form = {"action": "replay", "_selected_action": one.pk + 1}
    admin_client.post("/admin/integrations/webhookevent/", form)
    assert not WebhookReplay.objects.exists()
    job = Job.objects.get()
    assert (job.status, numbers(job), job.total) == ("finished", (0, 0, 0), 0)


@pytest.mark.parametrize("name", ["type", "product", "days", "id_prefix", "ids"])
def test_each_filter_chooses_its_events(client: Client, product: Product, name: str) -> None:
    wanted, other = ignore(client, product, 2)
    old = wanted.received_at - dt.timedelta(days=3)
    WebhookEvent.objects.filter(pk=wanted.pk).update(type="wanted", product_id=77, received_at=old, webhook_id="w_1")
    WebhookEvent.objects.filter(pk=other.pk).update(webhook_id="x_1")
    day = old.astimezone(dt.timezone(dt.timedelta(hours=5.5))).date()
    queries = {
        "type": query_of(Filters(type="wanted")),
        "product": query_of(Filters(product=77)),
        "days": query_of(Filters(first_day=day, last_day=day)),
        "id_prefix": query_of(Filters(id_prefix="w_")),
        "ids": query_of_ids([wanted.pk]),
    }
    assert run(queries[name]).done == 1
    assert WebhookReplay.objects.get().event_id == wanted.pk


def test_events_that_arrive_after_the_start_are_left_alone(client: Client, product: Product) -> None:
    ignore(client, product, 2)
    job = steps.start(REPLAY, "asha", filter="")
    late = [deliver(client, product.pk + 5) for _ in range(2)]
    WebhookEvent.objects.filter(pk=late[1].pk).update(received_at=job.created_at + 2 * jobs.LATE)
    assert finish(job).done == 2


def test_failed_and_unreadable_events_are_failures_with_reasons(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable, failing, fine = ignore(client, product, 3)
    WebhookEvent.objects.filter(pk=unreadable.pk).update(payload=b"[" * 100_000)
    break_prices(monkeypatch, 1)
    job = run("")
    assert numbers(job) == (3, 1, 2)
    first, second = job.failures.all()
    assert (first.key, second.key) == (f"Webhook {unreadable.pk}", f"Webhook {failing.pk}")
    assert "nested too deeply" in first.reason
    assert second.reason.startswith("failed: RuntimeError")
    failing.refresh_from_db()
    assert failing.status == "failed"
    assert fine.replays.get().outcome == "processed"


def test_pruned_event_is_a_failure(client: Client, product: Product) -> None:
    (gone,) = ignore(client, product, 1)
    job = steps.start(REPLAY, "asha", filter=query_of_ids([gone.pk]))
    gone.delete()
    assert "no such webhook" in finish(job).failures.get().reason


def test_bad_filter_is_refused() -> None:
    with pytest.raises(ValidationError, match="odd"):
        steps.start(REPLAY, "asha", filter="status=odd")
