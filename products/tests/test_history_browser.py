"""The history page in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from playwright.sync_api import Page

from accounts.models import User
from dev.testing.browser import axe, make_user
from dev.testing.offers import make_farm, make_offer
from farmlokal.acting import acting_as
from products import services


def test_history_is_readable_on_each_screen(page: Page, log_in: Callable[[User], None]) -> None:
    with acting_as("client Mandi Mart"):
        product = make_offer(name="Ripe mango")
    with acting_as("anna"):
        services.change(product.pk, farm=make_farm("Joshi Farm"), description="Sweet and ripe. " * 30)
    with acting_as("partner"):
        services.change(product.pk, price=Decimal("47.50"))
    log_in(make_user("anna", permissions=["view_product"]))
    page.goto(f"/admin/products/product/{product.pk}/history/")
    assert page.locator(".history tbody tr").count() == 3
    first = page.locator(".history tbody tr").first
    assert "Price in rupees: 120.00 → 47.50" in first.inner_text().replace("\n", " ")
    page.locator(".history summary").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
