"""The number of SQL statements of each row of an import and an export, as the server counts them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dev.testing.databases import statements_sent
from dev.testing.files import start_check, start_export, start_import, upload_rows
from dev.testing.jobs import finish
from dev.testing.offers import make_farm, make_offers
from farmlokal.jobs import steps
from farmlokal.jobs.models import Job
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

NEW = "name,commodity,grade,farm,price"


@pytest.fixture(autouse=True)
def _whole_job_in_one_step(live_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "FIRST_ITEMS", 100)


def statements_of_row(start: Callable[[int], Job]) -> float:
    """What one row more costs in a step. start: makes a job of so many rows."""
    few, many = start(10), start(50)
    finish(start(1))  # reads what its process keeps
    return (statements_sent(lambda: finish(many)) - statements_sent(lambda: finish(few))) / 40


def prices(count: int, price: str = "61.50") -> list[list[object]]:
    products = make_offers({"name": f"Mango {n}"} for n in range(count))
    return [[product.pk, price] for product in products]


def new_rows(count: int) -> list[list[object]]:
    return [[f"Mango {n}", "mango", "A", make_farm().pk, "5"] for n in range(count)]


def test_check_of_an_update_takes_no_statement_of_its_own() -> None:
    assert statements_of_row(lambda count: start_check(upload_rows("id,price", prices(count)))) == 0


def test_check_of_a_new_product_takes_two_statements() -> None:
    # SELECT commodity; SELECT farm, district and state
    assert statements_of_row(lambda count: start_check(upload_rows(NEW, new_rows(count)))) == 2


def test_import_of_an_unchanged_row_takes_no_statement_of_its_own() -> None:
    assert statements_of_row(lambda count: start_import(upload_rows("id,price", prices(count, "50")))) == 0


def test_import_of_a_price_takes_three_statements() -> None:
    # UPDATE product; UPDATE postings; INSERT history
    assert statements_of_row(lambda count: start_import(upload_rows("id,price", prices(count)))) == 3


def test_import_of_a_new_product_takes_six_statements() -> None:
    # SELECT commodity; SELECT farm, district and state
    # SELECT the farm's name FOR UPDATE
    # INSERT product; INSERT postings; INSERT history
    assert statements_of_row(lambda count: start_import(upload_rows(NEW, new_rows(count)))) == 6


def test_export_takes_no_statement_of_its_own_for_a_product() -> None:
    def start(count: int) -> Job:
        ids = [str(row[0]) for row in prices(count)]
        return start_export(f"ids={','.join(ids)}")

    assert statements_of_row(start) == 0
    Product.objects.all().delete()
