"""The harness of browser tests notices what it is meant to notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page
from pytest_httpserver import HTTPServer

from accounts.models import User
from dev.testing.browser import DESKTOP, Faults, Size, axe, check_page, cls, make_user, opened
from dev.testing.offers import make_offer
from dev.testing.servers import Server

HEAD = "<!doctype html><html lang='en'><title>Sample</title><link rel='icon' href='data:,'><h1>Sample</h1>"
STRICT = {"Content-Security-Policy": "default-src 'self'; img-src data:"}
SHIFT = """<script>
requestAnimationFrame(() => requestAnimationFrame(() => document.querySelector("h1").style.marginTop = "400px"));
</script>"""


@pytest.fixture
def found() -> Faults:
    """Its faults fail no test."""
    return Faults()


@pytest.fixture
def sample(browser: Browser, httpserver: HTTPServer, found: Faults) -> Iterator[Page]:
    with opened(browser, httpserver.url_for("").rstrip("/"), DESKTOP, found) as page:
        yield page


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>console.error('spilt milk')</script>", "console: spilt milk"),
        ("<script>throw new Error('spilt milk')</script>", "uncaught: spilt milk"),
        ("<script src='/absent.js'></script>", "status of 500"),
        ("<iframe title='other' src='http://127.0.0.2:9/'></iframe>", "request to another host: http://127.0.0.2:9/"),
        ("<p style='color: red'>", ""),
    ],
)
def test_faults_of_a_page_are_collected(
    sample: Page, httpserver: HTTPServer, found: Faults, body: str, fault: str
) -> None:
    httpserver.expect_request("/").respond_with_data(HEAD + body, content_type="text/html")
    sample.goto("/", wait_until="load")
    sample.context.close()
    assert fault in "\n".join(found.found)
    if not fault:
        assert found.found == []
        return
    with pytest.raises(AssertionError, match="faults in the browser"):
        found.check()
    found.allow(".")
    found.check()


def test_blocked_style_is_a_fault(sample: Page, httpserver: HTTPServer, found: Faults) -> None:
    body = "<p style='color: red'>Red"
    httpserver.expect_request("/").respond_with_data(HEAD + body, content_type="text/html", headers=STRICT)
    sample.goto("/")
    sample.context.close()
    assert "Content-Security-Policy: style-src-attr blocks inline" in "\n".join(found.found)


@pytest.mark.parametrize(("body", "is_still"), [("", True), (SHIFT, False)])
def test_layout_shifts_are_measured(sample: Page, httpserver: HTTPServer, body: str, *, is_still: bool) -> None:
    httpserver.expect_request("/").respond_with_data(HEAD + body, content_type="text/html")
    sample.goto("/")
    sample.wait_for_function("!document.querySelector('script') || document.querySelector('h1').style.marginTop")
    assert (cls(sample) == 0) == is_still


def test_serious_barriers_are_reported(sample: Page, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(HEAD + "<img src='data:,'>", content_type="text/html")
    sample.goto("/")
    with pytest.raises(AssertionError, match="Images must have alternative text"):
        axe(sample)


def test_page_wider_than_its_window_is_reported(sample: Page, httpserver: HTTPServer) -> None:
    body = HEAD + "<svg width='2000' aria-hidden='true'></svg>"
    httpserver.expect_request("/").respond_with_data(body, content_type="text/html")
    sample.goto("/")
    with pytest.raises(AssertionError, match="is too wide"):
        check_page(sample)


def test_user_is_logged_in_and_sees_committed_rows(
    page: Page, site: Server, log_in: Callable[[User], None], size: Size
) -> None:
    product = make_offer(name="Ripe mango")
    log_in(make_user("anna", permissions=["view_product"]))
    page.goto(f"/admin/products/product/{product.pk}/change/")
    assert "Ripe mango" in page.inner_text("body")
    assert page.evaluate("[innerWidth, innerHeight]") == list(size)
    assert page.url.startswith(site.url)
