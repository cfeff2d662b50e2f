"""The front page in a real browser: its product browser, at the size of a phone and of a desktop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from dev.testing.browser import DESKTOP, PHONE, Faults, Size, axe, cls, opened
from dev.testing.offers import make_offer, make_offers
from dev.testing.partner import partner, settings_for
from dev.testing.proxy import Proxy
from dev.testing.servers import Server, running
from products.models import Commodity, Product

PAGE_SIZE = 12
SORTS = ["", "created_at", "price", "-price", "name", "-name"]
MAX_BYTES = 100_000
NOT_VALID = "status of 400"


@pytest.fixture(scope="module", autouse=True)
def goods(live_database: None) -> dict[str, Product]:
    """28 mangoes, and 2 organic spices."""
    make_offers({"name": f"Mango {n:02}", "price": 100 + n, "stock": n % 2} for n in range(28))
    spice = {"commodity": Commodity.objects.get(slug="turmeric"), "organic": True}
    return {
        "turmeric": make_offer(name="Erode <b>Turmeric</b>", price="120000.00", unit="quintal", **spice),
        "sold out": make_offer(name="Lakadong Turmeric", price="9.50", stock=0, **spice),
    }


def cards(page: Page) -> Locator:
    return page.locator("#products li:not(.empty)")


def names(page: Page) -> list[str]:
    """Of the products shown, once no request is running."""
    expect(page.locator("#products")).to_have_attribute("aria-busy", "false")
    return page.locator("#products h3").all_inner_texts()


def show_filters(page: Page, size: Size) -> None:
    if size == PHONE:
        page.click("#toggle")


def asked(page: Page) -> list[str]:
    """Addresses of the listings that the page asks for from now on."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url) if "/products?" in request.url else None)
    return urls


def test_first_page_shows_products_and_its_request(page: Page, site: Server) -> None:
    urls = asked(page)
    page.goto("/")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    assert urls == [f"{site.url}/products?limit=12"]
    assert page.inner_text("#curl") == f"curl -s '{urls[0]}'"
    assert re.fullmatch(r"200 · X-Cache: \w+ · \d+ ms · \d+ B", page.inner_text("#answer"))
    assert "30" in page.inner_text(".facts")
    assert page.inner_text("#status") == "12 products, and more on the next page"


def test_card_shows_price_place_and_badges_as_text(page: Page) -> None:
    page.goto("/?q=erode")
    expect(cards(page)).to_have_count(1)
    (text,) = cards(page).all_inner_texts()
    for part in ("Erode <b>Turmeric</b>", "₹1,20,000 / quintal", "Organic", "In stock", "Ratnagiri, Maharashtra"):
        assert part in text
    page.goto("/?q=lakadong")
    expect(cards(page)).to_have_count(1)
    (text,) = cards(page).all_inner_texts()
    assert "₹9.50 / kg" in text
    assert "Sold out" in text


def test_words_typed_are_searched_as_one_step_of_the_history(page: Page) -> None:
    page.goto("/")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    page.locator("#q").press_sequentially("turmeric lakadong")
    expect(cards(page)).to_have_count(1)
    assert names(page) == ["Lakadong Turmeric"]
    assert urlsplit(page.url).query == "q=turmeric+lakadong"
    page.go_back()
    expect(cards(page)).to_have_count(PAGE_SIZE)
    assert page.input_value("#q") == ""


def test_filters_narrow_the_listing_and_stand_in_the_address(page: Page, size: Size) -> None:
    page.goto("/")
    show_filters(page, size)
    page.select_option("#category", "spices")
    expect(cards(page)).to_have_count(2)
    page.check("[name=in_stock]")
    expect(cards(page)).to_have_count(1)
    page.check("[name=organic]")
    page.select_option("#state", "maharashtra")
    page.fill("[name=price_min]", "100")
    page.fill("[name=price_max]", "200000")
    page.press("[name=price_max]", "Enter")
    wanted = "category=spices&state=maharashtra&price_min=100&price_max=200000&organic=true&in_stock=true"
    expect(page.locator("#curl")).to_have_text(re.compile(re.escape(f"?{wanted}&limit=12'")))
    assert names(page) == ["Erode <b>Turmeric</b>"]
    assert urlsplit(page.url).query == wanted
    page.reload()
    assert names(page) == ["Erode <b>Turmeric</b>"]
    assert page.input_value("#category") == "spices"
    assert page.is_checked("[name=organic]")
    if size == PHONE:
        assert page.inner_text("#toggle") == "Filters (6)"
        page.click("#toggle")
    page.click("text=Clear all")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    assert urlsplit(page.url).query == ""


@pytest.mark.parametrize("sort", SORTS)
def test_each_sort_is_that_of_the_api(page: Page, site: Server, size: Size, sort: str) -> None:
    page.goto("/?q=mango")
    show_filters(page, size)
    page.select_option("#sort", sort)
    query = f"q=mango&sort={sort}" if sort else "q=mango"
    expect(page.locator("#curl")).to_have_text(f"curl -s '{site.url}/products?{query}&limit=12'")
    results = site.request(f"/products?{query}&limit=12").json["results"]
    assert names(page) == [product["name"] for product in results]


def test_pages_lead_forward_and_back(page: Page) -> None:
    page.goto("/?sort=name&q=mango")
    pages = [names(page)]
    for _ in range(2):
        page.click("#next")
        expect(page.locator("#products h3").first).not_to_have_text(pages[-1][0])
        pages.append(names(page))
    assert [name for shown in pages for name in shown] == [f"Mango {n:02}" for n in range(28)]
    expect(page.locator("#next")).to_be_hidden()
    page.click("#previous")
    expect(page.locator("#products h3").first).to_have_text(pages[1][0])
    assert names(page) == pages[1]
    page.reload()
    assert names(page) == pages[1]
    page.go_back()
    expect(page.locator("#products h3").first).to_have_text(pages[2][0])


def test_no_match_is_said(page: Page) -> None:
    page.goto("/?q=zzz")
    expect(page.locator("#status")).to_have_text("No product matches. Try fewer filters.")
    assert cards(page).count() == 0


def test_refused_query_shows_the_reason_and_a_way_out(page: Page, faults: Faults) -> None:
    faults.allow(NOT_VALID)
    page.goto("/?price_min=9&price_max=5")
    expect(page.locator("#problem")).to_contain_text("price_min: must not be above price_max.")
    page.click("text=Show all products")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    page.goto("/?cursor=nonsense&q=lakadong")
    page.click("text=Go to the first page")
    expect(cards(page)).to_have_count(1)


def test_unknown_parameters_of_the_page_are_not_sent(page: Page) -> None:
    page.goto("/?utm_source=newsletter&q=lakadong")
    expect(cards(page)).to_have_count(1)


def test_product_opens_in_a_dialog_with_an_address(page: Page, goods: dict[str, Product]) -> None:
    page.goto("/?q=turmeric&sort=price")
    page.click("text=Erode <b>Turmeric</b>")
    dialog = page.locator("#details")
    expect(dialog).to_contain_text("₹1,20,000 / quintal")
    assert urlsplit(page.url).fragment == f"product-{goods['turmeric'].pk}"
    assert page.inner_text("#curl").endswith(f"/products/{goods['turmeric'].pk}'")
    axe(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.wait_for_url("**/?q=turmeric&sort=price")
    page.go_forward()
    expect(dialog).to_be_visible()
    page.reload()
    expect(dialog).to_contain_text("₹1,20,000 / quintal")
    page.go_back()
    expect(dialog).to_be_hidden()


def test_link_to_a_withdrawn_product_says_so(page: Page, site: Server, faults: Faults) -> None:
    faults.allow("status of 404")
    page.goto("/#product-999999999")
    expect(page.locator("#details")).to_contain_text("This product is no longer listed")
    page.click("#details [aria-label=Close]")
    expect(page.locator("#details")).to_be_hidden()
    page.wait_for_url(f"{site.url}/")


@pytest.mark.parametrize("size", [DESKTOP], ids=["desktop"])
def test_curl_command_is_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/?q=lakadong")
    expect(cards(page)).to_have_count(1)
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#curl")


def test_offline_page_goes_on_with_the_connection(page: Page, faults: Faults, size: Size) -> None:
    faults.allow("ERR_INTERNET_DISCONNECTED")
    page.goto("/")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    page.context.set_offline(True)
    show_filters(page, size)
    page.select_option("#category", "spices")
    expect(page.locator("#problem")).to_contain_text("You are offline")
    page.context.set_offline(False)
    expect(cards(page)).to_have_count(2)
    expect(page.locator("#problem")).to_be_hidden()


@pytest.fixture(scope="module")
def limited(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    """One request in 10 s."""
    with running(database_environment, WEB_CONCURRENCY="1", RATE_LIMIT_ANONYMOUS="1/10") as server:
        yield server


@pytest.mark.parametrize("size", [DESKTOP], ids=["desktop"])
def test_refused_request_is_sent_again_after_its_time(
    limited: Server, browser: Browser, size: Size, faults: Faults
) -> None:
    faults.allow("status of 429")
    with opened(browser, limited.url, size, faults) as page:
        page.goto("/?category=fruits")
        expect(cards(page)).to_have_count(PAGE_SIZE)
        page.select_option("#category", "spices")
        expect(page.locator("#problem")).to_contain_text("Too many requests")
        expect(page.locator("#problem button")).to_have_text(re.compile(r"Try again \(in \d+ s by itself\)"))
        assert page.inner_text("#answer").startswith("429 · ")
        axe(page)
        expect(cards(page)).to_have_count(2)


@pytest.mark.parametrize("size", [PHONE], ids=["phone"])
def test_page_outlives_an_outage_of_mysql(
    database_environment: dict[str, str], browser: Browser, size: Size, faults: Faults
) -> None:
    faults.allow("status of 503")
    with Proxy(database_environment["DATABASE_URL"]) as mysql:
        environment = {**database_environment, "DATABASE_URL": mysql.url}
        with running(environment, WEB_CONCURRENCY="1") as server, opened(browser, server.url, size, faults) as page:
            mysql.behave("refuse")
            page.goto("/?q=lakadong")
            assert "The catalogue is not available: MySQL is down." in page.inner_text(".state")
            expect(page.locator("#problem")).to_contain_text("The database is not available")
            mysql.behave("pass")
            expect(cards(page)).to_have_count(1)


@pytest.mark.parametrize("size", [DESKTOP], ids=["desktop"])
def test_quote_is_shown_or_its_failure(
    database_environment: dict[str, str],
    browser: Browser,
    size: Size,
    faults: Faults,
    goods: dict[str, Product],
    page: Page,
) -> None:
    faults.allow("status of 503")
    link = f"/#product-{goods['turmeric'].pk}"
    page.goto(link)
    ask_for_quote(page)
    expect(page.locator("#fee")).to_have_text("The partner is not available")
    with partner() as sandbox:
        environment = {**database_environment, **settings_for(sandbox)}
        with running(environment, WEB_CONCURRENCY="1") as server, opened(browser, server.url, size, faults) as other:
            other.goto(link)
            ask_for_quote(other)
            expect(other.locator("#fee")).to_have_text(re.compile(r"₹[\d.,]+, in about \d+ hours"))


def ask_for_quote(page: Page) -> None:
    page.fill("#pincode", "560001")
    page.click("#quote button")


@pytest.mark.parametrize("path", ["/", "/?q=zzz", "/?q=turmeric#product-{turmeric}"])
def test_page_does_not_shift_while_it_loads(page: Page, goods: dict[str, Product], path: str) -> None:
    page.goto(path.format(turmeric=goods["turmeric"].pk), wait_until="networkidle")
    expect(page.locator("#products")).to_have_attribute("aria-busy", "false")
    assert cls(page) < 0.1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_barriers(page: Page, size: Size, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto("/")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    show_filters(page, size)
    axe(page)
    assert page.evaluate("document.documentElement.scrollWidth") == size.width


def test_page_is_light(page: Page) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if "/products" not in request.url else None)
    page.goto("/", wait_until="networkidle")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    sizes = [request.sizes() for request in sent]
    assert len(sizes) >= 9
    assert sum(each["responseBodySize"] + each["responseHeadersSize"] for each in sizes) < MAX_BYTES


@pytest.mark.parametrize("size", [DESKTOP], ids=["desktop"])
def test_keyboard_reaches_search_and_products(page: Page) -> None:
    page.goto("/")
    expect(cards(page)).to_have_count(PAGE_SIZE)
    page.focus("#q")
    page.keyboard.type("lakadong")
    page.keyboard.press("Enter")
    expect(cards(page)).to_have_count(1)
    page.focus("#copy")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#details")).to_contain_text("Lakadong Turmeric")


def test_page_works_without_scripts(browser: Browser, site: Server, size: Size, faults: Faults) -> None:
    faults.allow("/home/.*.js: csp")  # Chromium's word for scripts that are switched off
    with opened(browser, site.url, size, faults, java_script_enabled=False) as page:
        page.goto("/")
        expect(page.locator(".browser")).to_be_hidden()
        page.click("text=The products as JSON")
        assert page.url == f"{site.url}/products"
