"""Deletes jobs that ended long ago, with their failures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from django.utils import timezone

from farmlokal.jobs.models import Job

KEPT_DAYS = 90


def delete_old_jobs() -> Iterator[int]:
    """A 1 for each job that it has deleted. It may be interrupted, and called again."""
    ended = Job.objects.filter(finished_at__lt=timezone.now() - dt.timedelta(days=KEPT_DAYS))
    for pk in list(ended.values_list("pk", flat=True)):
        Job.objects.filter(pk=pk).delete()
        yield 1
