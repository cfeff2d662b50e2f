"""The operations page in a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from accounts.models import User
from dev.testing.browser import DESKTOP, Faults, axe, cls, make_user
from integrations.partner.client import client as partner_client

PAGE, DATA = "/admin/operations/", "**/admin/operations/data*"
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""

pytestmark = pytest.mark.usefixtures("live_database")
at_one_size = pytest.mark.parametrize("size", [DESKTOP], ids=["desktop"])


@pytest.fixture
def operator(log_in: Callable[[User], None]) -> User:
    user = make_user("olga", permissions=["view_operations", "force_breaker"])
    log_in(user)
    return user


@pytest.fixture
def asked(page: Page) -> list[str]:
    """The requests for data so far."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url) if "/operations/data" in request.url else None)
    return urls


def open_page(page: Page) -> None:
    page.clock.install()
    page.goto(PAGE)
    expect(page.locator("#operations-fresh")).to_contain_text("As of")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_all_parts_at_each_size(page: Page, operator: User, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    open_page(page)
    for name in ("MySQL", "Redis", "Breaker: partner", "Access token", "Webhooks", "Jobs"):
        expect(page.locator("#operations-parts")).to_contain_text(name)
    expect(page.locator("figure svg[role=img] .line")).to_have_count(16)
    page.get_by_text("Requests as a table").click()
    expect(page.locator("figure[data-chart=requests] tbody tr")).to_have_count(60)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert cls(page) < 0.1
    axe(page)


@at_one_size
def test_breaker_is_forced_open_after_a_confirmation(page: Page, operator: User) -> None:
    open_page(page)
    page.get_by_role("link", name="Force open").click()
    expect(page.locator("#content")).to_contain_text("No call goes out")
    axe(page)
    page.get_by_role("button", name="Force open").click()
    expect(page.locator(".messagelist")).to_contain_text("stays open until somebody closes it")
    expect(page.locator("#operations-parts")).to_contain_text("open until you close it")
    partner_client.breaker.reset()


@at_one_size
def test_page_refreshes_every_ten_seconds(page: Page, operator: User, asked: list[str]) -> None:
    open_page(page)
    for number in (2, 3):
        with page.expect_response(DATA):
            page.clock.fast_forward(10_000)
        assert len(asked) == number


@at_one_size
def test_hidden_tab_asks_for_nothing(page: Page, operator: User, asked: list[str]) -> None:
    open_page(page)
    page.evaluate(HIDE, True)
    page.clock.fast_forward(60_000)
    assert len(asked) == 1
    with page.expect_response(DATA):
        page.evaluate(HIDE, False)
    assert len(asked) == 2


@at_one_size
def test_choice_of_hours_is_asked_for_at_once(page: Page, operator: User, asked: list[str]) -> None:
    open_page(page)
    with page.expect_response(DATA):
        page.get_by_label("the last 24 hours").check()
    assert asked[-1].endswith("?hours=24")


@at_one_size
def test_failed_answer_is_shown_until_the_next_one(page: Page, operator: User, faults: Faults) -> None:
    faults.allow("status of 503")
    open_page(page)
    page.route(DATA, lambda route: route.fulfill(status=503))
    page.clock.fast_forward(10_000)
    trouble = page.locator("#operations-trouble")
    expect(trouble).to_contain_text("the answer is 503")
    assert "No data since " + page.inner_text("#operations-fresh").removeprefix("As of ") in trouble.inner_text()
    page.unroute(DATA)
    page.clock.fast_forward(10_000)
    expect(trouble).to_have_text("")


@at_one_size
def test_endless_answer_ends_after_eight_seconds(page: Page, operator: User) -> None:
    open_page(page)
    page.route(DATA, lambda route: None)
    with page.expect_request(DATA):
        page.clock.fast_forward(10_000)
    page.clock.fast_forward(8_000)
    expect(page.locator("#operations-trouble")).to_contain_text("no answer in time")


@at_one_size
def test_ended_session_asks_for_a_login(page: Page, operator: User) -> None:
    open_page(page)
    Session.objects.all().delete()
    page.clock.fast_forward(10_000)
    expect(page.locator("#operations-trouble")).to_contain_text("you are logged out")
