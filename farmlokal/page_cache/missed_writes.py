"""The writes that Redis missed, counted in MySQL."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F


class MissedWritesQuerySet(models.QuerySet[Any]):
    def add(self, cache: str) -> None:
        if not self.filter(pk=cache).update(number=F("number") + 1):
            self.create(pk=cache, number=1)

    def number_of(self, cache: str) -> int:
        number: int | None = self.filter(pk=cache).values_list("number", flat=True).first()
        return number or 0


class MissedWrites(models.Model):
    """How many writes were committed while Redis was away, for each page cache.

    Their process ends the generation as soon as Redis is back. If it dies before, the next process that starts sees
    that the number has changed.
    """

    cache = models.CharField(primary_key=True, max_length=50)
    number = models.BigIntegerField(default=0)

    objects = MissedWritesQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.cache}: {self.number}"
