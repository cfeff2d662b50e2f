"""Exports: which products a file has, and that it imports again unchanged."""

from __future__ import annotations

import tempfile
import tracemalloc
from decimal import Decimal

import pytest
from django.test import Client

from dev.testing.files import checked, start_export, upload
from dev.testing.jobs import finish
from dev.testing.offers import make_offer, make_offers
from products import services
from products.files import storage
from products.files.columns import COLUMNS
from products.files.csv_files import parse_csv
from products.jobs.exports import Export
from products.jobs.imports import file_of
from products.models import FilePiece

pytestmark = pytest.mark.django_db

HOSTILE = [
    "=1+1 x",
    "+91 mango",
    "-x",
    "@x",
    "'x",
    "''x",
    "'=x",
    "'-x",
    '"x"',
    "x, y; z|",
    "007",
    "1e5",
    "TRUE",
    "#N/A",
    "#1",
    "x_x000D_",
    "मिर्च",
    "mango 🥭",
    "x\u00a0y",
    "NULL",
]


def download(client: Client, query: str = "", form: str = "csv") -> bytes:
    job = finish(start_export(query))
    response = client.get(f"/admin/products/product/export/{job.pk}/{form}/")
    assert response.status_code == 200
    return response.getvalue()


def ids(content: bytes) -> list[int]:
    header, *rows = parse_csv(content.decode("utf-8-sig"))
    assert header == list(COLUMNS)
    return [int(row[0]) for row in rows]


def assert_changes_nothing(content: bytes, count: int) -> None:
    file = upload(content)
    job = checked(file)
    assert (file.created, file.updated, file.unchanged, job.failed) == (0, 0, count, 0)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_exported_file_of_hostile_texts_imports_unchanged(admin_client: Client, form: str) -> None:
    for text in HOSTILE:
        make_offer(name=text, variety=text, description=f"{text}\n\t{text}\r\n\r{text}", price=Decimal("0.10"))
    make_offer(name="Withdrawn", organic=True, is_active=False, unit="quintal", stock=2**31 - 1)
    assert_changes_nothing(download(admin_client, form=form), len(HOSTILE))
    assert_changes_nothing(download(admin_client, "withdrawn=true", form=form), 1)


def test_text_cells_of_an_export_are_no_formulas(admin_client: Client) -> None:
    make_offer(name="=HYPERLINK(0)", variety="@x")
    _, cells = parse_csv(download(admin_client).decode("utf-8-sig"))
    assert (cells[1], cells[4]) == ("'=HYPERLINK(0)", "'@x")


def test_export_has_the_products_of_the_filter(admin_client: Client) -> None:
    products = make_offers({"name": f"Mango {n}", "organic": n % 3 == 0} for n in range(30))
    organic = [product.pk for product in products if product.organic]
    assert sorted(ids(download(admin_client, "organic=true"))) == organic
    assert ids(download(admin_client, f"ids={organic[2]},{organic[0]}")) == [organic[0], organic[2]]
    assert ids(download(admin_client, "q=nothing")) == []


def test_each_product_is_exported_once_in_many_pieces(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PIECE_BYTES", 1000)
    products = make_offers({"name": f"Mango {n}"} for n in range(300))
    content = download(admin_client)
    assert sorted(ids(content)) == [product.pk for product in products]
    assert FilePiece.objects.count() > 20


def test_export_shows_a_change_that_came_before_its_step(admin_client: Client) -> None:
    product = make_offer()
    job = start_export()
    services.change(product.pk, price=Decimal("7.77"))
    finish(job)
    assert b",7.77," in admin_client.get(f"/admin/products/product/export/{job.pk}/csv/").getvalue()


def test_xlsx_is_offered_up_to_its_limit_only(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_offers({"name": f"Mango {n}"} for n in range(3))
    job = finish(start_export())
    for module in ("products.files.pages", "products.jobs.exports"):
        monkeypatch.setattr(f"{module}.MAX_XLSX_ROWS", 2)
    page = admin_client.get(f"/admin/farmlokal/job/{job.pk}/change/").content.decode()
    assert "Download as CSV" in page
    assert "XLSX is offered for up to 2 products" in page
    assert admin_client.get(f"/admin/products/product/export/{job.pk}/xlsx/").status_code == 404


def test_export_holds_only_a_part_of_its_file_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Export, "max_items", 20)
    monkeypatch.setattr(storage, "PIECE_BYTES", 100_000)
    count, size = 1000, 9000
    make_offers({"name": f"Mango {n}", "description": "x" * size} for n in range(count))
    with tempfile.TemporaryFile() as output:
        tracemalloc.start()
        try:
            storage.save_csv(file_of(finish(start_export())), COLUMNS, output)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert output.tell() > count * size
    assert peak < count * size / 4
