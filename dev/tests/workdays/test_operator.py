"""An operator at work: force the breaker open, and see what a buyer who asks for a delivery quote gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from dev.testing.browser import axe, check_page, make_user
from dev.testing.offers import make_offer
from dev.testing.partner import partner, settings_for
from dev.testing.servers import Answer, Server, running
from integrations.partner.client import client as partner_client
from integrations.sandbox.server import Sandbox
from products.models import Product


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with partner() as started:
        yield started


@pytest.fixture(scope="module")
def site(live_database: None, database_environment: dict[str, str], sandbox: Sandbox) -> Iterator[Server]:
    """With a partner that works."""
    with running({**database_environment, **settings_for(sandbox)}, WEB_CONCURRENCY="1") as server:
        yield server


@pytest.fixture
def product() -> Iterator[Product]:
    """A new one for each test, because the service keeps good quotes for a while."""
    partner_client.breaker.reset()
    yield make_offer()
    partner_client.breaker.reset()


def quote(site: Server, product: Product) -> Answer:
    return site.request(f"/products/{product.pk}/delivery-quote?pincode=560001")


def force(page: Page, label: str) -> None:
    page.get_by_role("link", name=label).click()
    axe(page)
    page.get_by_role("button", name=label).click()


def test_forced_breaker_refuses_quotes_until_it_is_closed(
    page: Page, log_in: Callable[[User], None], site: Server, sandbox: Sandbox, product: Product
) -> None:
    log_in(make_user("olga", "Operator"))
    page.goto("/admin/operations/")
    parts = page.locator("#operations-parts")
    calls = sandbox.calls["quotes"]
    force(page, "Force open")
    expect(parts).to_contain_text("open until you close it")
    refused = quote(site, product)
    assert (refused.status, refused.json["code"]) == (503, "partner-unavailable")
    assert sandbox.calls["quotes"] == calls
    force(page, "Force close")
    expect(page.locator(".messagelist")).to_contain_text("The breaker is closed")
    expect(parts).not_to_contain_text("open until you close it")
    answer = quote(site, product)
    assert (answer.status, answer.json["available"]) == (200, True)
    assert sandbox.calls["quotes"] == calls + 1
    check_page(page)
