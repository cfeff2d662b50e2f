"""An editor at work: change prices in the list, raise thousands by percent, and rename a large farm."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from playwright.sync_api import Page, Route, expect

from accounts.models import User
from dev.testing.browser import DESKTOP, PHONE, Size, check_page, make_user
from dev.testing.offers import make_farm, make_offer, make_offers
from dev.testing.repeating import repeating
from dev.testing.servers import Server, running
from dev.testing.staff import make_staff, session_headers
from farmlokal.jobs.models import Job
from products import services
from products.models import Commodity, Farm, Posting, Product

LIST = "/admin/products/product/"
BY_SIZE = {DESKTOP: ("turmeric", 5000), PHONE: ("tomato", 1500)}  # commodity, and number of its products
REST = 2500  # mangoes; so the farm has 9,000 products
JOB_MS = 600_000
MAX_PRICE = Decimal("99999999.99")
TOO_DEAR = 2  # products whose price cannot be raised
OLD, NEW = "Deshpande", "Kulkarni"


@pytest.fixture(scope="module")
def farm(live_database: None) -> Farm:
    """A farm with 9,000 products for 100 rupees."""
    farm = make_farm(f"{OLD} Orchards")
    for slug, count in (*BY_SIZE.values(), ("mango", REST)):
        commodity = Commodity.objects.get(slug=slug)
        prices = [MAX_PRICE if n < TOO_DEAR else Decimal("100.00") for n in range(count)]
        make_offers(
            {"name": f"Ripe {slug} {n}", "commodity": commodity, "farm": farm, "price": price}
            for n, price in enumerate(prices)
        )
    return farm


@pytest.fixture(scope="module")
def site(farm: Farm, database_environment: dict[str, str]) -> Iterator[Server]:
    """Started after the farm is made, so that its sample of the catalogue has the farm's products."""
    with running(database_environment, WEB_CONCURRENCY="1") as server:
        yield server


@pytest.fixture
def _editor(log_in: Callable[[User], None]) -> None:
    log_in(make_user("esha", "Catalogue editor"))


def type_prices(page: Page, prices: dict[str, str]) -> None:
    """prices: by the names of products in the list."""
    for name, price in prices.items():
        page.get_by_label(f"Price of {name}").fill(price)
    page.get_by_role("button", name="Save").click()


@pytest.mark.usefixtures("_editor")
def test_product_found_by_two_words_is_changed_in_the_list(page: Page, site: Server, size: Size) -> None:
    product = make_offer(name=f"Kesar choice {size.width}", farm=make_farm("Joshi Gardens"))
    page.goto(LIST)
    page.get_by_label("Search products").fill(f"joshi {size.width}")
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    check_page(page)
    page.get_by_label(f"Stock of {product.name}").fill("7")
    type_prices(page, {product.name: "47.50"})
    expect(page.get_by_text("1 product was changed.")).to_be_visible()
    shown = site.request(f"/products/{product.pk}").json
    assert (shown["price"], shown["stock"]) == ("47.50", 7)


@pytest.mark.usefixtures("_editor")
def test_row_changed_by_another_writer_alone_shows_an_error(page: Page, site: Server, size: Size) -> None:
    names = [f"Langra {word} {size.width}" for word in ("early", "late")]
    early, late = (make_offer(name=name) for name in names)
    page.goto(f"{LIST}?q=langra+{size.width}")
    services.change(early.pk, price=Decimal("88.00"))
    type_prices(page, {early.name: "47.50", late.name: "51.00"})
    expect(page.locator(".errorlist")).to_have_count(1)
    expect(page.locator(".errorlist")).to_contain_text("the price is now 88.00")
    expect(page.get_by_label(f"Price of {early.name}")).to_have_value("47.50")
    check_page(page)
    assert [site.request(f"/products/{one.pk}").json["price"] for one in (early, late)] == ["88.00", "51.00"]
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".errorlist")).to_have_count(0)
    assert site.request(f"/products/{early.pk}").json["price"] == "47.50"


def hold_after_first(page: Page, url: str) -> None:
    """Only the first request of the page reaches the server. Each does at most a second of a job."""
    sent: list[Route] = []

    def handle(route: Route) -> None:
        sent.append(route)
        if len(sent) == 1:
            route.continue_()

    page.route(url, handle)


@pytest.mark.usefixtures("_editor")
def test_prices_of_all_matches_are_raised_once_with_a_stop(page: Page, size: Size) -> None:
    slug, count = BY_SIZE[size]
    products = Product.objects.filter(commodity__slug=slug)
    page.goto(f"{LIST}?commodity={slug}")
    page.get_by_label("Select all objects on this page for an action").check()
    page.get_by_role("button", name=re.compile("Select all .* products")).first.click()
    page.get_by_label("Action:").first.select_option(label="Change prices by percent")
    page.get_by_role("button", name="Go").first.click()
    expect(page.get_by_text(re.compile(r"(Exactly|About) [\d,]+ products"))).to_be_visible()
    page.get_by_label("Percent").fill("5")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("cell", name="105.00").first).to_be_visible()
    check_page(page)
    hold_after_first(page, "**/advance/")
    page.get_by_role("button", name="Change prices by percent").click()
    done = page.locator("[data-job=done]")
    expect(done).not_to_have_text("0")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    job = Job.objects.latest("pk")
    assert 0 < job.done < count
    assert products.filter(version=2).count() == job.changed
    page.unroute("**/advance/")
    page.reload()
    expect(done).to_have_text(f"{job.done}")
    check_page(page)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=JOB_MS)
    expect(page.locator(".job-failures tbody tr")).to_have_count(TOO_DEAR)
    check_page(page)
    job.refresh_from_db()
    assert (job.done, job.changed, job.failed) == (count, count - TOO_DEAR, TOO_DEAR)
    assert products.filter(price=105, version=2).count() == count - TOO_DEAR
    assert products.filter(price=MAX_PRICE, version=1).count() == TOO_DEAR
    assert not Product.objects.filter(commodity__slug="mango", version__gt=1, farm__name__contains=OLD).exists()


@contextmanager
def patching(site: Server, product: Product) -> Iterator[Counter[int]]:
    """Another writer changes the product through the API all the time. Yields the statuses so far."""
    statuses = Counter[int]()
    headers = session_headers(make_staff(name="api")) | {"Content-Type": "application/json", "Connection": "close"}

    def write() -> None:
        body = json.dumps({"stock": statuses.total() % 100})
        lines = [f"PATCH /products/{product.pk} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        statuses[site.raw("\r\n".join([*lines, "", body]).encode()).status] += 1

    with repeating(write):
        yield statuses


@pytest.mark.usefixtures("_editor")
@pytest.mark.parametrize("size", [DESKTOP], ids=["desktop"])
def test_farm_is_renamed_while_its_products_are_changed(page: Page, site: Server, farm: Farm) -> None:
    product = Product.objects.filter(farm=farm, commodity__slug="mango").latest("pk")
    with patching(site, product) as statuses:
        page.goto(f"/admin/products/farm/{farm.pk}/change/")
        check_page(page)
        page.get_by_label("Name").fill(f"{NEW} Orchards")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=JOB_MS)
    assert set(statuses) == {200}
    assert statuses[200] > 10
    words = Posting.objects.order_by()
    assert words.filter(term=NEW.lower()).count() == Product.objects.filter(farm=farm).count()
    assert not words.filter(term=OLD.lower()).exists()
    page.goto(f"{LIST}?q={NEW}")
    expect(page.get_by_label(f"Price of {product.name}")).to_be_visible()
    page.goto(f"{LIST}?q={OLD}")
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
