"""The table of products/idempotency.py."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from products.models.collations import BINARY_COLLATION


class IdempotencyKey(models.Model):
    """The response to the POST with this key, stored in the transaction that created its product."""

    caller = models.CharField(max_length=100, db_collation=BINARY_COLLATION)
    key = models.CharField(max_length=255, db_collation=BINARY_COLLATION)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    location = models.TextField(default="")
    etag = models.CharField(max_length=100, default="")
    body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key"),)

    def __str__(self) -> str:
        return self.key
