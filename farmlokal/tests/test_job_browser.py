"""Staff change many products in a real browser: start, stop and resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from dev.testing.browser import axe, cls, make_user
from dev.testing.offers import make_offers
from farmlokal.jobs.models import Job
from products.models import Product

COUNT = 1200


@pytest.fixture(autouse=True)
def _delete_rows(live_database: None) -> Iterator[None]:
    yield
    for model in (Job, Product):
        model._default_manager.all().delete()


def test_prices_are_raised_by_percent_with_a_stop(page: Page, log_in: Callable[[User], None]) -> None:
    make_offers({"name": f"Mango {n}", "price": Decimal("100.00")} for n in range(COUNT))
    log_in(make_user("editor", "Catalogue editor"))
    page.goto("/admin/products/product/bulk/?action=price-percent&q=mango")
    expect(page.get_by_text(f"Exactly {COUNT:,} products")).to_be_visible()
    page.get_by_label("Percent").fill("5")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("cell", name="105.00").first).to_be_visible()
    axe(page)
    page.get_by_role("button", name="Change prices by percent").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert Job.objects.get().status == "stopped"
    assert 0 < Product.objects.filter(price=105).count() < COUNT
    axe(page)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("finished")).to_be_visible()
    assert Product.objects.filter(price=105, version=2).count() == COUNT
    assert cls(page) < 0.1
