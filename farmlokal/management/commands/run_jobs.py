"""manage.py run_jobs: do jobs without an open page."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections, connection

from farmlokal.jobs import registry, steps
from farmlokal.jobs.models import Job
from farmlokal.mysql.errors import is_transient
from farmlokal.mysql.limits import limit_waits
from farmlokal.observability import tracing

T = TypeVar("T")

IDLE_SECONDS = 1

logger = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = (
        "Does running jobs, a second of each in turn, until it gets a SIGTERM. Several may run at the same time. Jobs "
        "do not need it: the page of a job does them too, while it is open."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--until-empty", action="store_true", help="end once no job runs")

    def handle(self, *, until_empty: bool, **_: Any) -> None:
        limit_waits()
        is_ending = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: is_ending.set())
        while not is_ending.is_set():
            is_idle, is_empty = _turn(is_ending)
            if is_empty and until_empty:
                return
            if is_idle:
                is_ending.wait(IDLE_SECONDS)


def _turn(is_ending: threading.Event) -> tuple[bool, bool]:
    """Whether there was nothing to do, and whether no job runs. MySQL may be away for a while."""
    close_old_connections()
    running = Job.objects.running().filter(action__in=registry.names()).order_by("pk").values_list("pk", flat=True)
    pks = _unless_away(lambda: list(running))
    if pks is None:
        return True, False
    worked = [_unless_away(partial(_work, pk)) for pk in pks if not is_ending.is_set()]
    return not any(worked), not pks


def _work(pk: int) -> bool:
    with tracing.task_span("run_jobs"):
        return steps.advance(pk)


def _unless_away(work: Callable[[], T]) -> T | None:
    """None after a transient error of the database. One job's errors must not keep the others from their turn."""
    try:
        return work()
    except Exception as error:
        if not is_transient(error):
            raise
        logger.warning("jobs_wait_for_the_database", error=str(error))
        connection.close()
        return None
