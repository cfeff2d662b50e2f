"""Staff who may only look: they find everything, and no page offers them a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.models import ApiClient, User
from dev.testing.browser import Faults, check_page, make_user
from dev.testing.offers import make_offers
from farmlokal.acting import acting_as
from farmlokal.admin.navigation import AREAS
from farmlokal.jobs.models import Job
from integrations.models import WebhookEvent
from integrations.sandbox.sender import PRICE
from products import services
from products.models import Product

# Of forms that a user can see and send; searches are GET. Actions of a list are checked by their names.
CHANGING = """() => [...document.querySelectorAll("main :is(button, input, select, textarea)")]
    .filter((field) => field.form?.method === "post" && field.checkVisibility())
    .filter((field) => !field.matches(".actions *, #action-toggle, [name=_selected_action]"))
    .map((field) => field.outerHTML)"""
READING_ACTIONS = {"---------", "Export selected products"}
ADDING_LINKS = "main :is(.addlink, .add, .deletelink, .add-related, .change-related)"
# With the token of the form for logging out.
SEND_BY_URL = """([url, name]) => {
    const form = document.querySelector("#logout-form");
    form.action = url;
    form.append(Object.assign(document.createElement("input"), {type: "hidden", name, value: "yes"}));
    form.submit();
}"""


@pytest.fixture(scope="module")
def product(live_database: None) -> Iterator[Product]:
    """And one row of each other list."""
    with acting_as("anna"):
        ripe = make_offers({"name": f"Ripe mango {n}"} for n in range(3))[0]
        services.change(ripe.pk, stock=3)
    WebhookEvent.objects.create(webhook_id="w1", type=PRICE, payload=b"{}", status=WebhookEvent.Status.FAILED)
    Job.objects.create(action="product.stock", parameters={"stock": "3"}, by="anna", status=Job.Status.STOPPED)
    client = ApiClient.objects.create(client_id="mandi", name="Mandi Mart")
    yield ripe
    client.delete()


def check_nothing_can_be_changed(page: Page) -> None:
    assert page.evaluate(CHANGING) == []
    assert set(page.locator("[name=action] option").all_inner_texts()) <= READING_ACTIONS
    assert page.locator(ADDING_LINKS).count() == 0
    assert page.get_by_role("link", name="Force open").count() == 0


def test_auditor_opens_each_page_and_can_change_nothing(
    page: Page, log_in: Callable[[User], None], product: Product
) -> None:
    log_in(make_user("aruna", "Auditor"))
    page.goto("/admin/")
    check_page(page)
    links = page.locator("main .card a").evaluate_all("links => links.map((link) => link.href)")
    paths = {urlsplit(link).path for link in links}
    assert paths >= {reverse(each.url_name) for area in AREAS for each in area.pages}
    for path in sorted(paths):
        answer = page.goto(path)
        assert answer
        assert answer.status == 200
        check_nothing_can_be_changed(page)
        check_page(page)
        rows = page.locator("#result_list tbody th a")
        if rows.count():
            rows.first.click()
            expect(page.locator("#result_list")).to_have_count(0)
            check_nothing_can_be_changed(page)


def test_viewer_sees_the_catalogue_and_cannot_change_it(
    page: Page, log_in: Callable[[User], None], product: Product
) -> None:
    log_in(make_user("vera", "Catalogue viewer"))
    page.goto("/admin/products/product/")
    page.get_by_label("Search products").fill("mango ripe")
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    check_nothing_can_be_changed(page)
    check_page(page)
    page.get_by_role("link", name="Ripe mango 0").click()
    expect(page.get_by_text("Price in rupees")).to_be_visible()
    check_nothing_can_be_changed(page)
    check_page(page)
    page.get_by_role("link", name="History").click()
    expect(page.locator(".history")).to_contain_text("anna")
    check_nothing_can_be_changed(page)
    check_page(page)


@pytest.mark.parametrize(
    "path",
    ["", "add/", "{pk}/change/", "bulk/?action=withdraw", "import/"],
    ids=["list", "add", "change", "bulk", "import"],
)
def test_change_by_url_is_refused_on_a_page(
    page: Page, log_in: Callable[[User], None], faults: Faults, product: Product, path: str
) -> None:
    log_in(make_user("vera", "Catalogue viewer"))
    faults.allow("status of 403")
    page.goto("/admin/")
    with page.expect_navigation() as navigation:
        page.evaluate(SEND_BY_URL, [f"/admin/products/product/{path.format(pk=product.pk)}", "_save"])
    assert navigation.value.status == 403
    expect(page.get_by_role("link", name="Overview")).to_be_visible()
    check_page(page)
