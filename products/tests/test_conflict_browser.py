"""The form after an edit conflict, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from playwright.sync_api import Page

from accounts.models import User
from dev.testing.browser import axe, make_user
from dev.testing.offers import make_offer
from farmlokal.acting import acting_as
from products import services
from products.models import Product


def test_form_comes_back_with_both_changes(page: Page, log_in: Callable[[User], None]) -> None:
    product = make_offer(name="Ripe mango", description="Ripe.\nSweet.")
    log_in(make_user("anna", permissions=["view_product", "change_product", "view_farm", "view_commodity"]))
    page.goto(f"/admin/products/product/{product.pk}/change/")
    page.fill("[name=stock]", "3")
    with acting_as("partner"):
        services.change(product.pk, price=Decimal("47.50"))
    page.click("[name=_continue]")
    changed = page.locator(".conflicts tbody tr")
    assert "47.50" in changed.inner_text()
    assert "partner" in changed.inner_text()
    assert page.input_value("[name=stock]") == "3"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    axe(page)
    page.click("[name=_continue]")
    page.wait_for_selector(".conflicts", state="detached")
    saved = Product.objects.get(pk=product.pk)
    assert (saved.price, saved.stock, saved.description) == (Decimal("47.50"), 3, "Ripe.\nSweet.")
    assert product.history.first().before == {"stock": 10}
