"""A member of staff types, the session ends, and nothing is lost: in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from accounts.models import User
from dev.testing.browser import Faults, axe, make_user
from dev.testing.offers import make_offer
from products.models import Product

PASSWORD = "tall-mango-tree-9"


@pytest.fixture
def product(live_database: None) -> Product:
    return make_offer(stock=10)


@pytest.mark.parametrize("lost", ["sessionid", "csrftoken"])
def test_typed_form_is_saved_after_login(
    page: Page, log_in: Callable[[User], None], faults: Faults, product: Product, lost: str
) -> None:
    user = make_user("asha", "Catalogue editor")
    user.set_password(PASSWORD)
    user.save()
    log_in(user)
    url = f"/admin/products/product/{product.pk}/change/"
    page.goto(url)
    page.fill("#id_stock", "77")
    page.context.clear_cookies(name="sessionid")
    page.context.clear_cookies(name=lost)
    faults.allow("status of 403")  # nothing was saved
    page.click("[name=_continue]")
    axe(page)
    page.fill("#id_username", "asha")
    page.fill("#id_password", PASSWORD)
    page.click("#login-form [type=submit]")
    axe(page)
    product.refresh_from_db()
    assert product.stock == 10
    page.click("text=Send again")
    page.wait_for_load_state()
    assert urlsplit(page.url).path == url
    assert page.input_value("#id_stock") == "77"
    product.refresh_from_db()
    assert product.stock == 77


def test_error_page_leads_back(page: Page, log_in: Callable[[User], None], faults: Faults) -> None:
    log_in(make_user("asha", "Catalogue viewer"))
    faults.allow("status of 403")
    page.goto("/admin/")
    page.evaluate("location.href = '/admin/accounts/user/'")
    page.wait_for_selector("text=A superuser can give you a role")
    axe(page)
    page.click("text=Back")
    page.wait_for_url("**/admin/")
