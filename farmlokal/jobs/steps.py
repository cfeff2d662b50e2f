"""A job is done in steps. Each is one transaction with the effects on a few items and the position after them.

So a killed process loses at most a step that had no effect, and no item is changed twice. Two processes may drive
a job at the same time: both may look for its next items, but only one of them saves the step.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from django.utils import timezone

from farmlokal.acting import acting_as
from farmlokal.jobs import registry
from farmlokal.jobs.actions import ITEM_ERRORS, Action, Failure, Outcome, Taken, reason_of
from farmlokal.jobs.models import MAX_FAILURES, MAX_KEY_LENGTH, MAX_REASON_LENGTH, Job, JobFailure
from farmlokal.mysql.errors import is_transient
from farmlokal.mysql.transactions import atomic_with_retry

FIRST_ITEMS = 10
STEP_SECONDS = 0.25  # for so long a step may lock its rows
MAX_GROWTH = 2.0

logger = structlog.get_logger(__name__)


def start(action: Action, by: str, *, parameters: dict[str, Any] | None = None, filter: str = "") -> Job:  # noqa: A002
    """Create a job. Nothing is changed until it is advanced."""
    job = Job(action=action.name, parameters=parameters or {}, filter=filter, by=by)
    if total := action.count(job):
        job.total, job.is_total_exact = total
    job.save()
    return job


def advance(pk: int, seconds: float = 1) -> bool:
    """Do steps of a job for this time. Another step begins only if it should end in time.

    False if there is nothing to do here: the job does not run, or another process does its next step.
    After a transient error of the database it raises, and the job is as it was before the step.
    """
    ends = time.monotonic() + seconds
    size: float = FIRST_ITEMS
    while True:
        began = time.monotonic()
        job = Job.objects.filter(pk=pk).first()
        action = registry.find(job.action) if job and job.is_running else None
        if job is None or action is None or not _step(job, action, min(action.max_items, int(size))):
            return False
        taken = time.monotonic() - began
        size = min(action.max_items, max(1, size * min(MAX_GROWTH, STEP_SECONDS / taken)))
        if time.monotonic() + taken > ends:
            return True


def stop(pk: int) -> bool:
    """Waits for the end of a step. False if the job does not run."""
    return _switch(pk, Job.Status.RUNNING, Job.Status.STOPPED)


def resume(pk: int) -> bool:
    return _switch(pk, Job.Status.STOPPED, Job.Status.RUNNING)


def _switch(pk: int, old: str, new: str) -> bool:
    return bool(Job.objects.filter(pk=pk, status=old).update(status=new, updated_at=timezone.now()))


def _step(job: Job, action: Action, count: int) -> bool:
    """False if another process has done, or is doing, the job's next step."""
    with acting_as(job.actor):
        try:
            taken = action.take(job, count)
        except Exception as error:
            if is_transient(error):
                raise
            return _fail(job, error)
        try:
            return _save_step(job, action, taken)
        except Exception as error:
            if is_transient(error):
                raise
            if len(taken.items) > 1:
                return _step(job, action, 1)
            return _skip(job, action, taken, error)


@atomic_with_retry
def _save_step(job: Job, action: Action, taken: Taken) -> bool:
    row = _lock(job)
    if row is None:
        return False
    _finish(row, taken, action.apply(row, taken.items) if taken.items else Outcome())
    return True


def _lock(job: Job) -> Job | None:
    """The job's row, locked. None if it has moved on since it was read, or another process has the lock."""
    # The first read of the transaction must be a locking one: the snapshot of later reads then has all that other
    # transactions have committed.
    row: Job | None = Job.objects.select_for_update(skip_locked=True).filter(pk=job.pk).first()
    return row if row and row.is_running and (row.cursor, row.done) == (job.cursor, job.done) else None


def _finish(row: Job, taken: Taken, outcome: Outcome) -> None:
    free = max(0, MAX_FAILURES - row.failed)
    JobFailure.objects.bulk_create(
        JobFailure(job=row, key=failure.key[:MAX_KEY_LENGTH], reason=failure.reason[:MAX_REASON_LENGTH])
        for failure in outcome.failures[:free]
    )
    row.cursor = taken.cursor
    row.done += len(taken.items)
    row.changed += outcome.changed
    row.failed += len(outcome.failures)
    row.updated_at = timezone.now()
    if taken.is_last:
        row.end(Job.Status.FINISHED)
    row.save()


@atomic_with_retry
def _skip(job: Job, action: Action, taken: Taken, error: Exception) -> bool:
    """Record an item that fails by a fault of ours, and go on after it."""
    row = _lock(job)
    if row is None:
        return False
    logger.error("job_item_failed", job=job.pk, action=action.name, exc_info=error)
    failures = [Failure(action.key(item), reason_of(error)) for item in taken.items]
    _finish(row, taken, Outcome(failures=failures))
    return True


@atomic_with_retry
def _fail(job: Job, error: Exception) -> bool:
    row = _lock(job)
    if row is not None:
        if not isinstance(error, ITEM_ERRORS):
            logger.error("job_failed", job=job.pk, action=job.action, exc_info=error)
        row.updated_at = timezone.now()
        row.end(Job.Status.FAILED, reason_of(error)[:MAX_REASON_LENGTH])
        row.save()
    return False
