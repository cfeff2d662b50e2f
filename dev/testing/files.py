"""Imports and exports of products in tests."""

from __future__ import annotations

from collections.abc import Iterable

from dev.testing.jobs import finish
from farmlokal.jobs import steps
from farmlokal.jobs.models import Job
from products.files.csv_files import write_csv
from products.files.storage import PIECE_BYTES, add_bytes, read_upload
from products.jobs.exports import Export
from products.jobs.imports import CheckImport, Import, parameters_of
from products.models import ProductFile


def upload(content: bytes) -> ProductFile:
    file: ProductFile = ProductFile.objects.create(name="prices.csv", by="asha")
    for number, start in enumerate(range(0, len(content), PIECE_BYTES)):
        add_bytes(file, number, content[start : start + PIECE_BYTES])
    read_upload(file)
    return file


def upload_rows(header: str, rows: Iterable[Iterable[object]]) -> ProductFile:
    """header: the columns, separated by commas."""
    return upload(write_csv([header.split(","), *([str(cell) for cell in row] for row in rows)]).encode())


def start_check(file: ProductFile) -> Job:
    return steps.start(CheckImport(), "asha", parameters=parameters_of(file))


def start_import(file: ProductFile) -> Job:
    return steps.start(Import(), "asha", parameters=parameters_of(file))


def start_export(query: str = "") -> Job:
    file = ProductFile.objects.create(name="products", by="asha")
    return steps.start(Export(), "asha", parameters=parameters_of(file), filter=query)


def checked(file: ProductFile) -> Job:
    job = finish(start_check(file))
    file.refresh_from_db()
    return job


def reasons(job: Job) -> dict[str, str]:
    return dict(job.failures.values_list("key", "reason"))
