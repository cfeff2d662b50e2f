"""Each role logs in on a phone, uses the keyboard, and logs out."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import make_password
from playwright.sync_api import Page, expect

from accounts.models import User
from accounts.roles import ROLES
from dev.testing.browser import PHONE, axe, check_page, make_user
from dev.testing.redis_keys import forget_keys

PASSWORD = "tall-mango-tree-9"


@pytest.fixture(scope="module")
def password_hash() -> str:
    return make_password(PASSWORD)


@pytest.fixture
def _forget_attempts() -> None:
    """Of other tests, which share this address."""
    forget_keys()


@pytest.mark.usefixtures("_forget_attempts")
@pytest.mark.parametrize("size", [PHONE], ids=["phone"])
@pytest.mark.parametrize("role", [role.name for role in ROLES])
def test_role_logs_in_uses_shortcuts_and_logs_out(page: Page, password_hash: str, role: str) -> None:
    user = make_user(f"{role} one", role)
    User.objects.filter(pk=user.pk).update(password=password_hash)
    page.goto("/admin/products/product/")
    axe(page)
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Products")
    page.wait_for_load_state()  # the script listens
    page.keyboard.press("/")
    search = page.get_by_label("Search products")
    expect(search).to_be_focused()
    page.keyboard.type("what?/")
    expect(search).to_have_value("what?/")
    search.blur()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    axe(page)
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    check_page(page)
    page.locator("#user-tools summary").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Logged out")).to_be_visible()
    page.goto("/admin/products/product/")
    expect(page.get_by_label("Password")).to_be_visible()
