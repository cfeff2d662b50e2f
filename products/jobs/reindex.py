"""The job that makes a new name of a farm, commodity, district or state searchable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps

from farmlokal.counts import Total
from farmlokal.jobs.actions import Action, Outcome, Taken
from farmlokal.jobs.models import Job
from products.jobs.walks import take
from products.listing import counting
from products.listing.conditions import Condition, OneOf
from products.listing.listings import Sort
from products.models import Posting, Product
from products.models.names import REINDEX
from products.search.reindexing import reindex_batch

OLDEST_FIRST = Sort.parse("created_at")  # so that it sees products that are committed meanwhile


class Reindex(Action):
    """Walks the listed products and then the withdrawn ones. A product that is listed again gets its words anyway."""

    name = REINDEX
    title = "Make a new name searchable"

    def describe(self, job: Job) -> str:
        field = job.parameters["field"]
        row = apps.get_model("products", field)._default_manager.filter(pk=job.parameters["id"]).first()
        return f"Make the new name of the {field} searchable: {row}"

    def permission_of(self, job: Job) -> str:
        return f"products.change_{job.parameters['field']}"

    def count(self, job: Job) -> Total | None:
        """Without the withdrawn products, which are few."""
        found = counting.count(_conditions(job))
        return Total(found.number, is_exact=False)

    def take(self, job: Job, count: int) -> Taken:
        is_listed, position = job.cursor or (True, None)
        taken = take(_conditions(job), OLDEST_FIRST, position, count, is_active=is_listed)
        if taken.is_last and is_listed:
            return Taken(taken.items, (False, None), is_last=False)
        return taken._replace(cursor=(is_listed, taken.cursor))

    def apply(self, job: Job, items: Sequence[Any]) -> Outcome:
        return Outcome(reindex_batch(Product.objects.all(), Posting.objects.all(), items))


def _conditions(job: Job) -> list[Condition]:
    return [OneOf(job.parameters["field"], (job.parameters["id"],))]
