"""Django looks here for the tables of the shared packages."""

from farmlokal.jobs.models import Job, JobFailure
from farmlokal.operations.models import Operations
from farmlokal.page_cache.missed_writes import MissedWrites

__all__ = ["Job", "JobFailure", "MissedWrites", "Operations"]
