"""The job that writes products into a file. Each step adds its rows in the transaction that moves the job on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from farmlokal.counts import Total
from farmlokal.jobs.actions import Action, Outcome, Taken
from farmlokal.jobs.models import Job
from products import vocabulary
from products.files.columns import COLUMNS, TEXT_COLUMNS, escape, texts_of
from products.files.storage import add_export_rows
from products.files.xlsx_files import MAX_XLSX_ROWS
from products.jobs.imports import file_of, find_file
from products.jobs.selections import read
from products.models import Product

FIELDS = (
    *("id", "name", "description", "commodity_id", "variety", "grade"),
    *("farm_id", "price", "unit", "stock", "organic", "is_active"),
)


class Export(Action):
    name = "product.export"
    title = "Export products"
    permission = "products.view_product"
    max_items: ClassVar[int] = 500
    result_template = "admin/products/product/export_result.html"

    def count(self, job: Job) -> Total | None:
        return read(job.filter).count()

    def result(self, job: Job, user: Any) -> dict[str, Any]:
        return {"file": find_file(job), "may_download": user.has_perm(self.permission), "max_xlsx_rows": MAX_XLSX_ROWS}

    def take(self, job: Job, count: int) -> Taken:
        return read(job.filter).take(job.cursor, count)

    def apply(self, job: Job, items: Sequence[int]) -> Outcome:
        add_export_rows(file_of(job), job.done, _rows(items))
        return Outcome()


def _rows(pks: Sequence[int]) -> Iterator[list[str]]:
    commodities = vocabulary.current().names["commodity"]
    rows = {row["id"]: row for row in Product.objects.filter(pk__in=pks).values(*FIELDS)}
    for pk in pks:
        if pk in rows:
            texts = texts_of(rows[pk], commodities)
            yield [escape(texts[column]) if column in TEXT_COLUMNS else texts[column] for column in COLUMNS]
