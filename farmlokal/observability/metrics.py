"""Prometheus metrics: each process counts, and /metrics adds up the counts of all processes.

The edge and Django count alike. A route label is a template of urls.py, so there are few of them. gunicorn.conf.py
sets the directory of the processes' files before anything imports this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import platform
from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import django
import structlog
from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from farmlokal.observability import metrics_folder
from farmlokal.observability.limited_clients import limited_clients

NO_ROUTE = "other"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BREAKER_STATES = ["closed", "half-open", "open"]
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
DELAY_BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)

logger = structlog.get_logger(__name__)


class TickHistogram(Histogram):
    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe several amounts with one write for each bucket."""
        self._sum.inc(sum(amounts))
        for bucket, number in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(number)


_requests = Counter("farmlokal_requests", "Requests answered", ["route", "method", "status"])
_seconds = TickHistogram("farmlokal_request_seconds", "Time from request to answer", ["route"], buckets=BUCKETS)
_page_cache = Counter("farmlokal_page_cache", "Pages served, by origin", ["result"])
_rate_limited = Counter("farmlokal_rate_limited", "Requests refused with 429", ["policy"])
_rate_limit_local = Counter("farmlokal_rate_limit_local", "Requests counted by a single process, without Redis")
_token_refreshes = Counter(
    "farmlokal_token_refreshes", "Requests to the provider for our own access token", ["outcome"]
)
_webhooks = Counter("farmlokal_webhooks", "Deliveries of signed webhooks, by outcome", ["type", "status"])
_webhook_delay = Histogram(
    "farmlokal_webhook_delay_seconds", "Time from a partner's event to the commit of its effect", buckets=DELAY_BUCKETS
)
_statements = Counter("farmlokal_sql_statements", "SQL statements", ["route"])
_commands = Counter("farmlokal_redis_commands", "Redis commands", ["route"])

# These begin at 0: Prometheus sees no increase in the first value of a series.
for _counter, _values in (
    (_page_cache, ("hit", "miss", "stale", "bypass")),
    (_rate_limited, ("anonymous", "client", "tokens")),
    (_token_refreshes, ("refreshed", "refused", "failed")),
):
    for _value in _values:
        _counter.labels(_value)

# Cached, because .labels() takes as long as counting.
_request_child = lru_cache(maxsize=2048)(_requests.labels)
_seconds_child = lru_cache(maxsize=256)(_seconds.labels)
_statements_child = lru_cache(maxsize=256)(_statements.labels)
_commands_child = lru_cache(maxsize=256)(_commands.labels)
_page_cache_child = lru_cache(maxsize=8)(_page_cache.labels)


@lru_cache(maxsize=1)
def is_on() -> bool:
    return bool(settings.METRICS)


def _requests_like(route: str | None, method: str, status: int) -> Counter:
    return _request_child(route or NO_ROUTE, method if method in METHODS else NO_ROUTE, status)


def count_request(route: str | None, method: str, status: int, seconds: float) -> None:
    if not is_on():
        return
    _requests_like(route, method, status).inc()
    _seconds_child(route or NO_ROUTE).observe(seconds)


def count_cost(route: str | None, statements: int, commands: int) -> None:
    if statements and is_on():
        _statements_child(route or NO_ROUTE).inc(statements)
    if commands and is_on():
        _commands_child(route or NO_ROUTE).inc(commands)


def count_page(result: str) -> None:
    _page_cache_child(result).inc()


def count_refusal(policy: str, client: str) -> None:
    _rate_limited.labels(policy).inc()
    limited_clients.add(policy, client)


def count_token_refresh(outcome: Literal["refreshed", "refused", "failed"]) -> None:
    _token_refreshes.labels(outcome).inc()


def count_webhook(event_type: str, status: str) -> None:
    _webhooks.labels(event_type, status).inc()


def expect_webhooks(event_type: str, status: str) -> None:
    """Let this count begin at 0."""
    _webhooks.labels(event_type, status)


def observe_webhook_delay(seconds: float) -> None:
    _webhook_delay.observe(max(0.0, seconds))  # the partner's clock may be ahead


def count_local_limit(calls: int) -> None:
    _rate_limit_local.inc(calls)


def samples() -> Iterator[Sample]:
    """The counts of this process alone."""
    for metric in (_requests, _seconds, _page_cache, _rate_limited, _token_refreshes, _webhooks):
        for family in metric.collect():
            yield from family.samples


class Tick:
    """Counts the requests of one turn of the event loop together, so that counting costs a cached page little.

    then: called once after each such turn.
    """

    def __init__(self, then: Callable[[], object]) -> None:
        self._counted: defaultdict[tuple[str | None, str, int, str], list[float]] = defaultdict(list)
        self._then = then
        self._is_due = False

    def count(self, route: str | None, method: str, status: int, page: str, seconds: float) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        if is_on():
            self._counted[route, method, status, page].append(seconds)

    def _flush(self) -> None:
        self._is_due = False
        for (route, method, status, page), seconds in self._counted.items():
            _requests_like(route, method, status).inc(len(seconds))
            _seconds_child(route or NO_ROUTE).observe_all(seconds)
            if page:
                _page_cache_child(page).inc(len(seconds))
        self._counted.clear()
        self._then()


@lru_cache(maxsize=1)
def _build() -> dict[str, str]:
    return {
        "version": settings.VERSION,
        "commit": settings.COMMIT,
        "python": platform.python_version(),
        "django": django.get_version(),
    }


class _States:
    """Gauges that each scrape computes."""

    def __init__(self, is_up: Mapping[str, bool], breakers: Mapping[str, str], backlog: Mapping[str, int]) -> None:
        self.is_up = is_up
        self.breakers = breakers
        self.backlog = backlog

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("farmlokal_build_info", "What runs here; always 1", labels=[*_build()])
        family.add_metric([*_build().values()], 1)
        yield family
        family = GaugeMetricFamily("farmlokal_dependency_up", "1 if it answers, and takes writes", labels=["name"])
        for name, up in self.is_up.items():
            family.add_metric([name], float(up))
        yield family
        family = GaugeMetricFamily("farmlokal_breaker_state", "0 closed, 1 half-open, 2 open", labels=["name"])
        for name, state in self.breakers.items():
            family.add_metric([name], BREAKER_STATES.index(state))
        yield family
        family = GaugeMetricFamily(
            "farmlokal_webhook_backlog", "Events without effect, by status; at most 1000", labels=["status"]
        )
        for status, number in self.backlog.items():
            family.add_metric([status], number)
        yield family


def exposition(is_up: Mapping[str, bool], breakers: Mapping[str, str], backlog: Mapping[str, int]) -> bytes:
    """Return the text for Prometheus.

    is_up: state by dependency; breakers: state by breaker; backlog: number of failed webhooks by status.
    """
    registry = CollectorRegistry()
    registry.register(_States(is_up, breakers, backlog))
    if metrics_folder.VARIABLE not in os.environ:
        registry.register(REGISTRY)
        return generate_latest(registry)
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    with _locked(fcntl.LOCK_SH):
        return generate_latest(registry)


# In gunicorn's arbiter: processes that died and still have files.
_dead: set[int] = set()


def fold(pid: int, alive: Container[int]) -> None:
    """Add the counts of a dead process to one file for each type of metric, and delete its own files.

    prometheus_client would keep all those files and read them at each scrape. The arbiter must not wait or fail: while
    a scrape holds the lock, the files stay until the next process dies. Works for counters and histograms only.
    """
    _dead.add(pid)
    # A scrape holds the lock, or the system has deleted the directory among old temporary files.
    with contextlib.suppress(OSError), _locked(fcntl.LOCK_EX | fcntl.LOCK_NB) as directory:
        for dead in [pid for pid in _dead if pid not in alive]:
            for file in directory.glob(f"*_{dead}.db"):
                _move(file, to=file.with_name(f"{file.name.partition('_')[0]}_dead.db"))
            _dead.remove(dead)


def _move(file: Path, to: Path) -> None:
    try:
        counts = list(MmapedDict.read_all_values_from_file(file))  # type: ignore[no-untyped-call]
        total = MmapedDict(to)  # type: ignore[no-untyped-call]
        for key, value, _, _ in counts:
            total.write_value(key, total.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
        total.close()  # type: ignore[no-untyped-call]
    except Exception:
        logger.exception("metrics_lost", file=file.name)
    file.unlink()  # even if it is broken: every scrape would fail


@contextlib.contextmanager
def _locked(mode: int) -> Iterator[Path]:
    """Lock the directory of the files. A scrape in the middle of fold would count a process twice or not at all."""
    path = Path(os.environ[metrics_folder.VARIABLE])
    directory = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(directory, mode)
        yield path
    finally:
        os.close(directory)
