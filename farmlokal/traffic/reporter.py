"""Adds the counts of this process to those of all processes in Redis, every ten seconds, by one script.

The requests themselves do nothing for it: a thread reads what the metrics have counted. What it has counted in ten
seconds without Redis is dropped, so the charts have a gap, and no later minute gets it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

import structlog
from django.conf import settings

from farmlokal.observability.limited_clients import limited_clients
from farmlokal.redis.client import run
from farmlokal.redis.scripts import key, load
from farmlokal.traffic.counts import totals

REPORT_SECONDS = 10.0
STOP_SECONDS = 1.0
MINUTE, TEN_MINUTES, HOUR = 60, 600, 3600
LIFETIMES = {MINUTE: 2 * HOUR, TEN_MINUTES: 25 * HOUR, HOUR: 26 * HOUR}  # HOUR: lists of clients
MAX_CLIENTS = 50  # in a list
MAX_REPORTED_CLIENTS = 20
REPORTS = "reports"  # a field: shows that a process ran, even without requests

ADD = load(__file__, "add.lua")
PREFIX = key("traffic")

logger = structlog.get_logger(__name__)


def add(counts: Mapping[str, int], clients: Mapping[str, int]) -> None:
    """counts: by field. clients: refusals by client."""
    arguments: list[str | int] = [part for lifetime in LIFETIMES.items() for part in lifetime]
    arguments += [MAX_CLIENTS, len(counts)]
    arguments += [part for pair in (*counts.items(), *clients.items()) for part in pair]
    run(ADD, [PREFIX], arguments)


class Reporter:
    def __init__(self) -> None:
        self._before = Counter[str]()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Nothing with METRICS=off."""
        if settings.METRICS and not self._thread:
            self._before = totals()
            self._thread = threading.Thread(target=self._run, name="traffic-reports", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Report once more. Waits a second at most."""
        self._stopping.set()
        if self._thread:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            is_last = self._stopping.wait(REPORT_SECONDS)
            try:
                self.report()
            except Exception:  # the next report may succeed
                logger.exception("report_failed")
            if is_last:
                return

    def report(self) -> None:
        before, self._before = self._before, totals()
        clients = dict(limited_clients.take().most_common(MAX_REPORTED_CLIENTS))
        add({**(self._before - before), REPORTS: 1}, clients)
