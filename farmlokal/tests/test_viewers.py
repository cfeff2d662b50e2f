"""The viewers of the OpenAPI document in a real browser. Their files come from other projects."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from dev.testing.browser import DESKTOP, axe


@pytest.mark.parametrize(("path", "text"), [("/docs", "/products/{id}"), ("/redoc", "API docs by Redocly")])
def test_viewer_shows_the_document_without_a_fault(page: Page, path: str, text: str) -> None:
    """It asks no other host, and the browser reports no blocked or failed request."""
    page.goto(path)
    expect(page.get_by_text(text).first).to_be_attached()
    axe(page, ["critical"])  # the viewers' colours are their own


def test_swagger_tries_a_request_out(page: Page) -> None:
    page.goto("/docs")
    page.locator(".opblock-summary-control").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_have_text("200")


@pytest.mark.parametrize("size", [DESKTOP])
def test_redoc_search_finds_operations(page: Page) -> None:
    """It runs in a worker. Its styles are rules that a script inserts."""
    page.goto("/redoc")
    page.get_by_placeholder("Search...").fill("withdraw")
    expect(page.locator('[data-role="search:results"] li').first).to_have_text("delWithdraw a product")
    assert page.evaluate("getComputedStyle(document.querySelector('.menu-content')).position") == "sticky"
