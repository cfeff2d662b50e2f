"""The writes that Redis missed, counted in MySQL."""

from __future__ import annotations

import uuid

from django.db import connection, models, transaction

# Only the server can add to a row, or insert it, in one step.
ADD = "INSERT INTO `{}` (writer, cache, number) VALUES (%s, %s, 1) ON DUPLICATE KEY UPDATE number = number + 1"
WRITER = uuid.uuid4().hex  # this process


class MissedWrites(models.Model):
    """How many writes a process has committed while Redis was away. A row for each process, so none waits for another.

    Normally the process ends the generation when Redis is back. If it died first, the next process to start sees a
    new total and ends it.
    """

    writer = models.CharField(primary_key=True, max_length=32)
    cache = models.CharField(max_length=50)
    number = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.cache}: {self.number}"

    @classmethod
    def add(cls, cache: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(ADD.format(cls._meta.db_table), [WRITER, cache])

    @classmethod
    def total(cls, cache: str) -> int:
        """The lock waits for a commit that is still on its way."""
        with transaction.atomic():
            return sum(cls.objects.select_for_update().filter(cache=cache).values_list("number", flat=True))
