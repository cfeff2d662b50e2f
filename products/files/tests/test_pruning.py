"""Old files are deleted with their pieces."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from dev.testing.files import checked, start_export, upload_rows
from dev.testing.jobs import finish
from dev.testing.offers import make_offers
from farmlokal.jobs.models import Job
from products.files import pruning, storage
from products.models import FilePiece, Product, ProductFile

pytestmark = pytest.mark.django_db


def age(file: Any, **age: float) -> None:
    ProductFile.objects.filter(pk=file).update(created_at=timezone.now() - dt.timedelta(**age))


def test_files_are_deleted_after_seven_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PIECE_BYTES", 1000)
    monkeypatch.setattr(pruning, "BATCH_PIECES", 3)
    products = make_offers({"name": f"Mango {n}"} for n in range(100))
    old = finish(start_export()).parameters["file"]
    young = upload_rows("id,price", [[product.pk, "45"] for product in products])
    checked(young)
    age(old, days=7, minutes=1)
    age(young.pk, days=6, hours=23)
    assert sum(pruning.delete_old_files()) == 1
    assert ProductFile.objects.get() == young
    assert set(FilePiece.objects.values_list("file_id", flat=True)) == {young.pk}
    assert Job.objects.count() == 2
    assert Product.objects.count() == 100
    assert sum(pruning.delete_old_files()) == 0
