"""Rows with a name that products show or are found by."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from farmlokal.acting import current_actor
from farmlokal.jobs import registry, steps
from farmlokal.jobs.models import Job
from products.history.records import record

REINDEX = "product.reindex"  # the action's name; products/jobs/reindex.py imports this module


class Named(models.Model):
    """Pages show a new name at once. A job makes it searchable: until then, its old words find a product."""

    name: Any  # a field of each subclass
    product_field: ClassVar[str] = ""  # the field of Product that refers here; empty if the name is not searched
    reindexing: Job | None = None  # started by the last save()

    class Meta:
        abstract = True

    def save(self, **kwargs: Any) -> None:
        """Call it in a transaction, which also records the change and creates the job."""
        before = type(self)._default_manager.select_for_update().filter(pk=self.pk).first()
        super().save(**kwargs)
        record(before, self)
        is_renamed = self.product_field and before and before.name != self.name
        self.reindexing = self._start_reindexing() if is_renamed else None

    def _start_reindexing(self) -> Job | None:
        action = registry.find(REINDEX)
        parameters = {"field": self.product_field, "id": self.pk}
        return steps.start(action, current_actor(), parameters=parameters) if action else None
