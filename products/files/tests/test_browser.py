"""A large file is sent by a real browser, checked, corrected and imported; an export is downloaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from dev.testing.browser import axe, cls, make_user
from dev.testing.offers import make_offers
from products.models import Product

LIMIT_OF_ONE_REQUEST = 2_500_000


@pytest.fixture
def editor(log_in: Callable[[Any], None]) -> None:
    log_in(make_user("anna", "Catalogue editor"))


@pytest.mark.usefixtures("editor")
def test_large_file_with_a_bad_row_is_imported(page: Page, tmp_path: Path) -> None:
    products = make_offers({"name": f"Mango {n}", "price": Decimal(50)} for n in range(300))
    lines = [f"{product.pk},61.50,{'x' * 9500}\n" for product in products]
    lines[7] = lines[7].replace("61.50", '"61,50"')
    path = tmp_path / "prices.csv"
    path.write_text("".join(["id,price,description\n", *lines]))
    assert path.stat().st_size > LIMIT_OF_ONE_REQUEST
    page.goto("/admin/products/product/import/")
    axe(page)
    assert cls(page) < 0.1
    page.get_by_label("CSV or XLSX file").set_input_files(path)
    page.get_by_role("button", name="Check the file").click()
    button = page.get_by_role("button", name="Import the 299 good rows")
    expect(button).to_be_visible()
    expect(page.get_by_text("61,50")).to_be_visible()
    axe(page)
    button.click()
    expect(page.get_by_text("finished", exact=True)).to_be_visible()
    assert Product.objects.filter(pk__in=[p.pk for p in products], price=Decimal("61.50"), version=2).count() == 299


@pytest.mark.usefixtures("editor")
def test_refused_file_is_explained_on_the_page(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("id,cost\n7,5\n")
    page.goto("/admin/products/product/import/")
    page.get_by_label("CSV or XLSX file").set_input_files(path)
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("alert").first).to_contain_text("Unknown columns: cost.")
    path.write_text("")
    page.get_by_label("CSV or XLSX file").set_input_files(path)
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_text("The file is empty.")).to_be_visible()
    expect(page.get_by_role("button", name="Check the file")).to_be_enabled()


@pytest.mark.usefixtures("editor")
def test_export_is_downloaded(page: Page) -> None:
    product = make_offers([{"name": "Zebra mango"}])[0]
    page.goto("/admin/products/product/export/?q=zebra")
    axe(page)
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("CSV")).click()
    assert f"\n{product.pk},Zebra mango," in Path(download.value.path()).read_text()
    axe(page)
    product.delete()
