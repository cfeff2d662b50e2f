"""A webhook operator at work: replay the events that failed while a handler was broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from dev.testing.browser import check_page, make_user
from dev.testing.deliveries import event
from dev.testing.offers import make_offers
from integrations.models import WebhookEvent, WebhookReplay
from integrations.sandbox.sender import PRICE
from products.models import Product

FAILED = 200  # on two pages
Status = WebhookEvent.Status


@pytest.fixture
def products(live_database: None) -> Iterator[list[Product]]:
    """Each has one failed event, which sets its price. Three other events have been processed."""
    made = make_offers({"name": f"Mango {n}", "price": Decimal(500)} for n in range(FAILED))
    bodies = [json.dumps(event(product.pk, price=f"{n}.50")).encode() for n, product in enumerate(made, 1)]
    statuses = [Status.FAILED] * FAILED + [Status.PROCESSED] * 3
    WebhookEvent.objects.bulk_create(
        WebhookEvent(webhook_id=f"msg_{n}", type=PRICE, payload=body, status=status, attempts=1)
        for n, (body, status) in enumerate(zip([*bodies, *bodies[:3]], statuses, strict=True))
    )
    yield made
    for model in (WebhookReplay, WebhookEvent):
        model._default_manager.all().delete()


def test_all_failed_events_are_replayed_once(
    page: Page, log_in: Callable[[User], None], products: list[Product]
) -> None:
    log_in(make_user("wasim", "Webhook operator"))
    page.goto("/admin/integrations/webhookevent/")
    page.get_by_role("navigation", name="Saved views").get_by_role("link", name="Failed").click()
    expect(page.locator(".keyset-count")).to_have_text(f"Exactly {FAILED} webhooks")
    check_page(page)
    page.locator("#action-toggle").check()
    page.get_by_role("button", name=re.compile("Select all .* webhooks")).first.click()
    page.get_by_label("Action:").first.select_option(label="Replay selected webhooks")
    page.get_by_role("button", name="Go").first.click()
    expect(page.get_by_text("finished", exact=True)).to_be_visible()
    expect(page.locator("[data-job=done]")).to_have_text(str(FAILED))
    expect(page.locator("[data-job=failed]")).to_have_text("0")
    check_page(page)
    assert WebhookEvent.objects.filter(status=Status.PROCESSED, attempts=2).count() == FAILED
    replayed = WebhookReplay.objects.filter(outcome=Status.PROCESSED).values_list("event__webhook_id", flat=True)
    assert sorted(replayed) == sorted(f"msg_{n}" for n in range(FAILED))
    prices = Product.objects.filter(pk__gte=products[0].pk).order_by("pk").values_list("price", "version")
    assert list(prices) == [(Decimal(f"{n}.50"), 2) for n in range(1, FAILED + 1)]
    page.goto("/admin/integrations/webhookevent/?status=failed")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
