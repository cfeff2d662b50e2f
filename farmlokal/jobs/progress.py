"""The numbers of a job as its page shows them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from farmlokal.counts import about
from farmlokal.jobs import registry
from farmlokal.jobs.models import Job


def title_of(job: Job) -> str:
    action = registry.find(job.action)
    if action is None:
        return job.action
    try:
        return action.describe(job)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # parameters of another release
        return action.title


def may_drive(request: HttpRequest, job: Job) -> bool:
    """Also False for an action of another release, which this process cannot do."""
    action = registry.find(job.action)
    return action is not None and request.user.has_perm(action.permission_of(job))


def progress_of(job: Job) -> dict[str, Any]:
    """As JSON. total_text: "312", "about 37,000", or "" if the number is unknown."""
    total = None if job.total is None else max(job.total, job.done)
    if job.is_finished:
        total = job.done
    is_exact = job.is_total_exact or job.is_finished
    return {
        "status": job.status,
        "done": job.done,
        "changed": job.changed,
        "unchanged": job.done - job.changed - job.failed,
        "failed": job.failed,
        "total": total,
        "total_text": "" if total is None else f"{total:,}" if is_exact else about(total),
        "error": job.error,
    }
