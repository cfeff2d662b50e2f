"""What Prometheus is told: counted by each process, summed over all of them at /metrics.

gunicorn.conf.py gives the processes a directory for that before any of this is imported. Fed by the edge and by Django
alike; a route is a template of urls.py, so that there are few of them.
"""

from __future__ import annotations

import asyncio
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NO_ROUTE = "other"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_requests = Counter("farmlokal_requests", "Requests answered", ["route", "method", "status"])
_seconds = Histogram("farmlokal_request_seconds", "Time from request to answer", ["route"], buckets=BUCKETS)
_page_cache = Counter("farmlokal_page_cache", "Pages served, by where they came from", ["result"])
_rate_limited = Counter("farmlokal_rate_limited", "Requests refused with 429", ["policy"])
_rate_limit_local = Counter("farmlokal_rate_limit_local", "Requests counted by one process alone: Redis is away")
_statements = Counter("farmlokal_sql_statements", "SQL statements", ["route"])
_commands = Counter("farmlokal_redis_commands", "Redis commands", ["route"])

# What .labels() finds is kept: it takes as long as counting does.
_request_child = lru_cache(maxsize=2048)(_requests.labels)
_seconds_child = lru_cache(maxsize=256)(_seconds.labels)
_statements_child = lru_cache(maxsize=256)(_statements.labels)
_commands_child = lru_cache(maxsize=256)(_commands.labels)
_page_cache_child = lru_cache(maxsize=8)(_page_cache.labels)


def _requests_like(route: str | None, method: str, status: int) -> Counter:
    return _request_child(route or NO_ROUTE, method if method in METHODS else NO_ROUTE, status)


def count_request(route: str | None, method: str, status: int, seconds: float) -> None:
    _requests_like(route, method, status).inc()
    _seconds_child(route or NO_ROUTE).observe(seconds)


def count_cost(route: str | None, statements: int, commands: int) -> None:
    if statements:
        _statements_child(route or NO_ROUTE).inc(statements)
    if commands:
        _commands_child(route or NO_ROUTE).inc(commands)


def count_page(result: str) -> None:
    _page_cache_child(result).inc()


def count_refusal(policy: str) -> None:
    _rate_limited.labels(policy).inc()


def count_local_limit() -> None:
    _rate_limit_local.inc()


class Tick:
    """Counts what an event loop's requests of one tick have in common together: a cached page takes little longer."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._counts: dict[Counter, int] = {}
        self._then = then

    def count(self, route: str | None, method: str, status: int, seconds: float, commands: int, page: str) -> None:
        if not self._counts:
            asyncio.get_running_loop().call_soon(self._flush)
        counts, requests = self._counts, _requests_like(route, method, status)
        counts[requests] = counts.get(requests, 0) + 1
        if page:
            pages = _page_cache_child(page)
            counts[pages] = counts.get(pages, 0) + 1
        count_cost(route, 0, commands)
        _seconds_child(route or NO_ROUTE).observe(seconds)

    def _flush(self) -> None:
        counts, self._counts = self._counts, {}
        for counter, number in counts.items():
            counter.inc(number)
        self._then()


class _Dependencies:
    """Asked anew for each scrape."""

    def __init__(self, is_up: Mapping[str, bool]) -> None:
        self.is_up = is_up

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("farmlokal_dependency_up", "1 where it answers", labels=["name"])
        for name, up in self.is_up.items():
            family.add_metric([name], float(up))
        yield family


def exposition(is_up: Mapping[str, bool]) -> bytes:
    """The text that Prometheus reads; is_up: the dependencies."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(_Dependencies(is_up))
    return generate_latest(registry)
