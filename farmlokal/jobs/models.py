"""Work over more rows than a page shows. farmlokal/jobs/steps.py does it, one short transaction after the other."""

from __future__ import annotations

import datetime as dt
from typing import Any, Self

from django.db import models
from django.utils import timezone

MAX_FAILURES = 10_000  # the others are only counted
MAX_REASON_LENGTH = 500
MAX_KEY_LENGTH = 200
UNATTENDED_SECONDS = 15  # a driven job is saved several times a second


def _attended_since() -> dt.datetime:
    return timezone.now() - dt.timedelta(seconds=UNATTENDED_SECONDS)


class JobQuerySet(models.QuerySet[Any]):
    def running(self) -> Self:
        return self.filter(status=Job.Status.RUNNING)

    def unattended(self) -> Self:
        """Running jobs that neither a page nor a worker has driven lately."""
        return self.running().filter(updated_at__lt=_attended_since())


class Job(models.Model):
    class Status(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"
        FINISHED = "finished"
        FAILED = "failed"

    action = models.CharField(max_length=50)  # a name in farmlokal/jobs/registry.py
    parameters = models.JSONField(default=dict)  # what the action asks for, such as {"percent": "5"}
    filter = models.TextField(default="")  # the query of the list whose rows are meant
    cursor = models.JSONField(null=True)  # the position after the last finished item; null at the start
    done = models.PositiveBigIntegerField(default=0)  # changed, unchanged and failed items
    changed = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(null=True)
    is_total_exact = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.RUNNING)
    error = models.TextField(default="")  # why the whole job failed
    by = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        default_permissions = ("view",)
        indexes = (models.Index(fields=["status", "id"], name="job_status"),)

    def __str__(self) -> str:
        return f"job {self.pk}"

    @property
    def actor(self) -> str:
        """The name under which the job's changes appear in the history."""
        return f"job {self.pk} of {self.by}"

    @property
    def is_running(self) -> bool:
        return self.status == self.Status.RUNNING

    @property
    def is_stopped(self) -> bool:
        return self.status == self.Status.STOPPED

    @property
    def is_unattended(self) -> bool:
        return self.is_running and self.updated_at < _attended_since()

    @property
    def is_finished(self) -> bool:
        return self.status == self.Status.FINISHED

    def end(self, status: str, error: str = "") -> None:
        self.status, self.error, self.finished_at = status, error, timezone.now()


class JobFailure(models.Model):
    """An item that the job could not change."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="failures")
    key = models.CharField(max_length=MAX_KEY_LENGTH)
    reason = models.CharField(max_length=MAX_REASON_LENGTH)

    class Meta:
        default_permissions = ()
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"
