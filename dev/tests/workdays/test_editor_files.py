"""An editor at work with a spreadsheet: import a file with bad rows, export the list's filter, import that again."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accounts.models import User
from dev.testing.browser import Size, check_page, make_user
from dev.testing.offers import make_farm, make_offers
from products.models import Product

LIST = "/admin/products/product/"
ROWS = 1000
CHANGED = 600  # of the rows; the others are new products
BAD = {13: ("price", "61,50"), 700: ("grade", "Z"), 1001: ("commodity", "mangoes")}  # by row; the first is the header
COLUMNS = ("id", "name", "commodity", "grade", "farm", "price")
JOB_MS = 600_000


@pytest.fixture(autouse=True)
def _editor(live_database: None, log_in: Callable[[User], None]) -> None:
    log_in(make_user("esha", "Catalogue editor"))


def upload(page: Page, path: Path) -> None:
    """Ends when the file is checked."""
    page.goto(LIST)
    page.get_by_role("link", name="Import", exact=True).click()
    check_page(page)
    page.get_by_label("CSV or XLSX file").set_input_files(path)
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("heading", name="What the import would do")).to_be_visible(timeout=JOB_MS)
    check_page(page)


def shown_numbers(page: Page) -> dict[str, str]:
    numbers = page.locator(".job-result .job-numbers div")
    return dict(text.split("\n", 1) for text in numbers.all_inner_texts())


def write_rows(path: Path, word: str) -> None:
    """1,000 rows, of which BAD are bad: new prices of old products, and new products."""
    farm = make_farm(f"{word} Farm")
    old = make_offers({"name": f"{word} mango {n}", "farm": farm} for n in range(CHANGED))
    rows = [
        dict(zip(COLUMNS, (str(pk), f"{word} mango {n}", "mango", "A", str(farm.pk), "61.50"), strict=True))
        for n, pk in enumerate([*(product.pk for product in old), *[""] * (ROWS - CHANGED)])
    ]
    for number, (column, text) in BAD.items():
        rows[number - 2][column] = f'"{text}"'
    path.write_text("\n".join([",".join(COLUMNS), *(",".join(row.values()) for row in rows), ""]))


def test_good_rows_of_a_file_are_imported_without_its_bad_ones(page: Page, size: Size, tmp_path: Path) -> None:
    word = f"Kilo{size.width}"
    write_rows(tmp_path / "prices.csv", word)
    upload(page, tmp_path / "prices.csv")
    failures = page.locator(".job-failures tbody tr")
    expect(failures).to_have_count(len(BAD))
    for row, (number, (column, text)) in zip(failures.all(), BAD.items(), strict=True):
        expect(row).to_contain_text(f"Row {number}")
        expect(row).to_contain_text(f"{column}: ")
        expect(row).to_contain_text(text)
    counts = {"Create": "398", "Change": "599", "Leave as they are": "0", "Bad rows": "3"}
    assert shown_numbers(page) == counts
    assert not Product.objects.filter(name__startswith=word, price=Decimal("61.50")).exists()
    page.get_by_role("button", name="Import the 997 good rows").click()
    expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=JOB_MS)
    expect(page.locator("[data-job=changed]")).to_have_text("997")
    imported = Product.objects.filter(name__startswith=word, price=Decimal("61.50"))
    assert (imported.filter(version=2).count(), imported.filter(version=1).count()) == (599, 398)


@pytest.mark.parametrize("form", ["CSV", "XLSX"])
def test_exported_filter_is_imported_again_without_a_change(page: Page, size: Size, tmp_path: Path, form: str) -> None:
    word = f"{form}{size.width}".lower()
    make_offers({"name": f"={word} mango {n}", "description": "Sweet,\n'ripe'"} for n in range(150))
    page.goto(f"{LIST}?q={word}")
    page.get_by_role("link", name="Export", exact=True).click()
    check_page(page)
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Download as {form}").click(timeout=JOB_MS)
    path = tmp_path / f"products.{form.lower()}"
    download.value.save_as(path)
    upload(page, path)
    counts = {"Create": "0", "Change": "0", "Leave as they are": "150", "Bad rows": "0"}
    assert shown_numbers(page) == counts
    expect(page.get_by_text("There is nothing to import.")).to_be_visible()
