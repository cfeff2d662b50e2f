"""Deletes the files of imports and exports that are too old to be asked for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from django.utils import timezone

from products.models import FilePiece, ProductFile

KEPT_DAYS = 7
BATCH_PIECES = 50  # up to 1 MB each


def delete_old_files() -> Iterator[int]:
    """A 1 for each file that it has deleted. It may be interrupted, and called again."""
    limit = timezone.now() - dt.timedelta(days=KEPT_DAYS)
    pks = list(ProductFile.objects.filter(created_at__lt=limit).values_list("pk", flat=True))
    for pk in pks:
        pieces = FilePiece.objects.filter(file=pk)
        while numbers := list(pieces.values_list("number", flat=True)[:BATCH_PIECES]):
            pieces.filter(number__in=numbers).delete()
        ProductFile.objects.filter(pk=pk).delete()
        yield 1
