"""Jobs in tests."""

from __future__ import annotations

from farmlokal.jobs import steps
from farmlokal.jobs.models import Job


def finish(job: Job | None) -> Job:
    """Drive a job until it no longer runs."""
    assert job
    while steps.advance(job.pk):
        pass
    job.refresh_from_db()
    assert not job.is_running
    return job
