"""The table of products/seeding/lease.py."""

from __future__ import annotations

from django.db import models

from products.models.collations import BINARY_COLLATION


class LoadLease(models.Model):
    """One row: the bulk load that runs, and until when it is believed to run."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    owner = models.CharField(max_length=200, db_collation=BINARY_COLLATION)
    ends_at = models.DateTimeField()  # by MySQL's clock, UTC

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.owner
