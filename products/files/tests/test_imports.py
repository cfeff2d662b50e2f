"""The two jobs of an import: the check that names bad rows and writes nothing, and the import itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dev.testing.files import checked, reasons, start_check, start_import, upload, upload_rows
from dev.testing.jobs import finish
from dev.testing.offers import make_farm, make_offer, make_offers
from products import services
from products.files import storage
from products.files.columns import FileError
from products.models import Farm, FilePiece, Posting, Product, ProductFile

pytestmark = pytest.mark.django_db

NEW = "name,commodity,grade,farm,price"


def numbers(file: ProductFile) -> tuple[int, int, int]:
    return file.created, file.updated, file.unchanged


def test_check_names_three_bad_rows_of_a_thousand_and_writes_nothing() -> None:
    products = make_offers({"name": f"Mango {n}"} for n in range(900))
    farm = make_farm().pk
    rows: list[list[Any]] = [[product.pk, product.name, "mango", "A", product.farm_id, "50"] for product in products]
    for row in rows[:40]:
        row[5] = "61.50"
    rows += [["", f"New mango {n}", "mango", "B", farm, "70"] for n in range(100)]
    rows[10][5], rows[500][0], rows[950][2] = "61,50", 10**17, "mangoo"
    file = upload_rows(f"id,{NEW}", rows)
    job = checked(file)
    assert (job.status, job.done, job.changed, job.failed) == ("finished", 1000, 0, 3)
    assert numbers(file) == (99, 39, 859)
    assert list(reasons(job)) == ["Row 12", "Row 502", "Row 952"]
    assert "price: must be rupees" in reasons(job)["Row 12"]
    assert '(it is "61,50")' in reasons(job)["Row 12"]
    assert reasons(job)["Row 502"] == f"id: no product has the id {10**17}."
    assert reasons(job)["Row 952"] == 'commodity: is not the slug of a commodity (it is "mangoo").'
    assert Product.objects.filter(version=1).count() == 900
    job = finish(start_import(file))
    assert (job.done, job.changed, job.failed) == (1000, 138, 3)
    assert Product.objects.filter(price=Decimal("61.50"), version=2).count() == 39
    assert Product.objects.filter(name__startswith="New mango").count() == 99
    assert Posting.objects.filter(term="new").count() == 99


def test_check_shows_the_first_twenty_rows_with_changes() -> None:
    products = make_offers({"name": f"Mango {n}"} for n in range(60))
    rows = [[product.pk, "50" if n < 10 else "61"] for n, product in enumerate(products)]
    file = upload_rows("id,price", rows)
    checked(file)
    assert len(file.sample) == 20
    assert file.sample[0] == {
        "row": 12,
        "id": products[10].pk,
        "name": "Mango 10",
        "changes": [["price", "50.00", "61"]],
    }


def test_sample_of_a_new_product_shows_its_cells() -> None:
    file = upload_rows(NEW, [["Mango", "mango", "A", make_farm().pk, "5"]])
    checked(file)
    assert file.sample[0]["id"] is None
    assert ["name", "", "Mango"] in file.sample[0]["changes"]


def test_import_writes_only_its_columns_over_a_later_change() -> None:
    product = make_offer(stock=10)
    file = upload_rows("id,price", [[product.pk, "45"]])
    checked(file)
    services.change(product.pk, price=Decimal(99), stock=3)
    assert finish(start_import(file)).changed == 1
    product.refresh_from_db()
    assert (product.price, product.stock) == (Decimal(45), 3)


def test_import_checks_again_what_has_changed_since() -> None:
    products = make_offers({"name": f"Mango {n}"} for n in range(3))
    farm = make_farm()
    file = upload_rows(
        f"id,{NEW}",
        [
            *([product.pk, product.name, "mango", "A", product.farm_id, "45"] for product in products),
            ["", "New mango", "mango", "A", farm.pk, "45"],
        ],
    )
    assert checked(file).failed == 0
    Product.objects.filter(pk=products[1].pk).delete()
    services.change(products[2].pk, price=Decimal(45))
    Farm.objects.filter(pk=farm.pk).delete()
    job = finish(start_import(file))
    assert (job.done, job.changed, job.failed) == (4, 1, 2)
    assert reasons(job) == {
        "Row 3": f"id: no product has the id {products[1].pk}.",
        "Row 5": f'farm: is not the id of a farm (it is "{farm.pk}").',
    }


def test_withdrawn_products_are_imported_too() -> None:
    product = make_offer(is_active=False)
    finish(start_import(upload_rows("id,listed,price", [[product.pk, "yes", "45"]])))
    product.refresh_from_db()
    assert (product.is_active, product.price) == (True, Decimal(45))
    assert Posting.objects.filter(product_id=product.pk).exists()


def test_second_import_of_a_file_changes_nothing() -> None:
    product = make_offer()
    file = upload_rows("id,price", [[product.pk, "45"]])
    finish(start_import(file))
    assert finish(start_import(file)).changed == 0
    product.refresh_from_db()
    assert product.version == 2


def test_history_records_an_import_in_the_name_of_its_job() -> None:
    product = make_offer()
    job = finish(start_import(upload_rows("id,price", [[product.pk, "45"]])))
    change = product.history.latest()
    assert (change.history_user_id, change.before["price"]) == (f"job {job.pk} of asha", "120.00")


def test_job_fails_if_its_file_is_gone() -> None:
    file = upload_rows("id,price", [[make_offer().pk, "45"]])
    job = start_check(file)
    file.delete()
    finish(job)
    job.refresh_from_db()
    assert (job.status, job.error) == ("failed", "The file has been deleted, because it was too old.")


def test_upload_in_pieces_becomes_rows_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PIECE_BYTES", 1000)
    content = ("id,price\n" + "".join(f"{n},{n}.50\n" for n in range(1, 1001))).encode()
    file = ProductFile.objects.create(name="prices.csv", by="asha")
    for number, start in enumerate(range(0, len(content), 1000)):
        storage.add_bytes(file, number, content[start : start + 1000])
    storage.add_bytes(file, 3, content[3000:4000])  # sent again after a lost answer
    storage.read_upload(file)
    assert file.rows == 1000
    assert FilePiece.objects.count() > 10
    found: list[Any] = []
    while len(found) < 1000:
        found += storage.rows_from(file, len(found), 70)
    assert found == [(n + 1, [str(n), f"{n}.50"]) for n in range(1, 1001)]


def test_missing_piece_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PIECE_BYTES", 10)
    file = ProductFile.objects.create(name="prices.csv", by="asha")
    storage.add_bytes(file, 0, b"id,price\n7")
    storage.add_bytes(file, 2, b"5")
    with pytest.raises(FileError, match="Pieces of the file are missing"):
        storage.read_upload(file)


def test_upload_without_a_piece_is_empty() -> None:
    with pytest.raises(FileError, match="empty"):
        upload(b"")


def test_pieces_are_limited() -> None:
    file = ProductFile.objects.create(name="prices.csv", by="asha")
    for number, content in [(0, b""), (0, b"x" * (storage.PIECE_BYTES + 1)), (64, b"x")]:
        with pytest.raises(FileError):
            storage.add_bytes(file, number, content)
    assert storage.MAX_UPLOAD_BYTES == 64 * storage.PIECE_BYTES
