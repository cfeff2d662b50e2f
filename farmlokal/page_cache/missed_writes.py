"""The writes that Redis missed, counted in MySQL."""

from __future__ import annotations

from django.db import connection, models

# Only the server can add to a row, or insert it, in one step.
ADD = "INSERT INTO `{}` (cache, number) VALUES (%s, 1) ON DUPLICATE KEY UPDATE number = number + 1"


class MissedWrites(models.Model):
    """How many writes were committed while Redis was away, for each page cache.

    Normally the writing process ends the generation when Redis is back. If it died first, the next process to start
    sees a new number and ends it.
    """

    cache = models.CharField(primary_key=True, max_length=50)
    number = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.cache}: {self.number}"

    @classmethod
    def add(cls, cache: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(ADD.format(cls._meta.db_table), [cache])

    @classmethod
    def number_of(cls, cache: str) -> int:
        number: int | None = cls.objects.filter(pk=cache).values_list("number", flat=True).first()
        return number or 0
