"""The viewers of the OpenAPI document in a real browser. Their files come from other projects."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from dev.testing.browser import axe


@pytest.mark.parametrize(("path", "text"), [("/docs", "/products/{id}"), ("/redoc", "API docs by Redocly")])
def test_viewer_shows_the_document_without_a_fault(page: Page, path: str, text: str) -> None:
    """It asks no other host, and the browser reports no blocked or failed request."""
    page.goto(path)
    expect(page.get_by_text(text).first).to_be_attached()
    axe(page, ["critical"])  # the viewers' colours are their own
