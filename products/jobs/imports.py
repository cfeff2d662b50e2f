"""The two jobs of an import. The first checks every row and writes nothing; the second checks again, and writes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.core.exceptions import ValidationError

from farmlokal.counts import Total
from farmlokal.jobs.actions import Action, Failure, Outcome, Taken
from farmlokal.jobs.models import Job
from products import vocabulary
from products.files.rows import BadRowError, Catalogue, Change, check, ids_of
from products.files.storage import rows_from
from products.files.tables import Row
from products.jobs import walks
from products.models import Product, ProductFile

SAMPLE_ROWS = 20


class ImportAction(Action):
    permission = "products.change_product"

    def count(self, job: Job) -> Total:
        return Total(file_of(job).rows, is_exact=True)

    def take(self, job: Job, count: int) -> Taken:
        file, start = file_of(job), job.cursor or 0
        rows = rows_from(file, start, count)
        end = start + len(rows)
        return Taken(rows, end, is_last=end >= file.rows)

    def key(self, item: Row) -> str:
        return f"Row {item.number}"

    def apply(self, job: Job, items: Sequence[Row]) -> Outcome:
        file = file_of(job)
        catalogue = Catalogue(self.find(ids_of(file.columns, items)), vocabulary.current().names["commodity"])
        good: list[tuple[Row, Change]] = []
        failures: list[Failure] = []
        for row in items:
            try:
                good.append((row, check(file.columns, row, catalogue)))
            except BadRowError as error:
                failures.append(Failure(self.key(row), str(error)))
        return Outcome(self.use(file, good), failures)

    @abstractmethod
    def find(self, ids: Sequence[int]) -> Mapping[int, Product]:
        """Those of these products that exist."""

    @abstractmethod
    def use(self, file: ProductFile, good: Sequence[tuple[Row, Change]]) -> int:
        """The number of products that are changed or created."""


class CheckImport(ImportAction):
    name = "product.import_check"
    title = "Check a file for import"
    max_items: ClassVar[int] = 500
    result_template = "admin/products/product/import_check.html"

    def describe(self, job: Job) -> str:
        return f"Check {job.parameters['name']} for import"

    def result(self, job: Job, user: Any) -> dict[str, Any]:
        file = find_file(job)
        if file is None:
            return {}
        may_import = user.has_perms(["products.add_product", "products.change_product"])
        return {"file": file, "good": file.created + file.updated, "may_import": may_import}

    def find(self, ids: Sequence[int]) -> Mapping[int, Product]:
        return Product.objects.in_bulk(ids)

    def use(self, file: ProductFile, good: Sequence[tuple[Row, Change]]) -> int:
        for row, change in good:
            if change.product is None:
                file.created += 1
            elif change.fields:
                file.updated += 1
            else:
                file.unchanged += 1
            if change.cells and len(file.sample) < SAMPLE_ROWS:
                file.sample.append(_sample(row, change))
        file.save()
        return 0


class Import(ImportAction):
    name = "product.import"
    title = "Import a file"

    def describe(self, job: Job) -> str:
        return f"Import {job.parameters['name']}"

    def find(self, ids: Sequence[int]) -> Mapping[int, Product]:
        return {product.pk: product for product in walks.lock(ids, ())}

    def use(self, file: ProductFile, good: Sequence[tuple[Row, Change]]) -> int:
        return sum(change.apply() for _, change in good)


def find_file(job: Job) -> ProductFile | None:
    """None if it has been deleted."""
    file: ProductFile | None = ProductFile.objects.filter(pk=job.parameters["file"]).first()
    return file


def file_of(job: Job) -> ProductFile:
    """Raises ValidationError, which ends the job."""
    if file := find_file(job):
        return file
    raise ValidationError("The file has been deleted, because it was too old.")


def parameters_of(file: ProductFile) -> dict[str, object]:
    return {"file": file.pk, "name": file.name}


def _sample(row: Row, change: Change) -> dict[str, object]:
    product = change.product
    name = product.name if product else ""
    return {"row": row.number, "id": product.pk if product else None, "name": name, "changes": change.cells}
