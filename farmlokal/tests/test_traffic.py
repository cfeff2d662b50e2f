"""What processes count reaches the shared minutes, in bounded memory; without Redis nothing waits or grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

import pytest
import redis
from pytest_django.fixtures import Settings

from dev.testing.servers import Daemon
from farmlokal.observability import metrics
from farmlokal.observability.limited_clients import MAX_CLIENTS as MAX_COUNTED_CLIENTS
from farmlokal.observability.limited_clients import LimitedClients, limited_clients
from farmlokal.page_cache.pages import Result
from farmlokal.redis.client import Outages
from farmlokal.traffic.counts import CATALOGUE, PROBES, totals
from farmlokal.traffic.reporter import (
    HOUR,
    LIFETIMES,
    MAX_CLIENTS,
    MAX_REPORTED_CLIENTS,
    MINUTE,
    PREFIX,
    REPORTS,
    TEN_MINUTES,
    Reporter,
    add,
)
from farmlokal.traffic.series import Traffic, quantile, read
from integrations.models import WebhookEvent

MAX_FIELDS = 40
MAX_KEYS = 121 + 151 + 27  # those that have not expired, and the current one
MAX_BYTES = 500_000  # docs/operations.md


@pytest.fixture
def own(redis_alone: Daemon) -> Iterator[Any]:
    with redis.Redis.from_url(redis_alone.url, decode_responses=True) as client:
        yield client


def traffic(hours: int = 1) -> Traffic:
    found = read(hours)
    assert found
    return found


def total(found: Traffic) -> Counter[str]:
    return sum((step.counts for step in found.steps if step.counts), Counter())


def let_minutes_pass(own: Any, minutes: int) -> None:
    """Redis's clock cannot be moved, so what it holds becomes older."""
    for name in own.keys(f"{PREFIX}:{MINUTE}:*"):
        head, _, number = name.rpartition(":")
        own.rename(name, f"{head}:{int(number) - minutes}")


def count_everything() -> None:
    """Each label that the service may count, and some that no field shows."""
    for route in (None, "/admin/", *CATALOGUE, *PROBES):
        for status in (101, 200, 304, 404, 429, 500, 503):
            metrics.count_request(route, "GET", status, status / 100)
    for result in get_args(Result):
        metrics.count_page(result)
    for policy in ("anonymous", "client", "tokens"):
        metrics.count_refusal(policy, "192.0.2.1")
    metrics.count_token_refresh("refreshed")
    metrics.count_token_refresh("refused")
    metrics.count_token_refresh("failed")
    for outcome in (*WebhookEvent.Status.values, "duplicate", "in-progress"):
        metrics.count_webhook("product.price_changed", outcome)


def test_processes_add_up_by_field(own: Any) -> None:
    add({"requests:2xx": 3, REPORTS: 1}, {})
    add({"requests:2xx": 4, "requests:5xx": 1, REPORTS: 1}, {})
    expected = {"requests:2xx": 7, "requests:5xx": 1, REPORTS: 2}
    assert total(traffic(1)) == total(traffic(24)) == expected


def test_report_has_only_what_grew_since_the_last_one(own: Any) -> None:
    process = Reporter()
    process.report()  # what earlier tests have counted
    own.flushdb()
    for _ in range(2):
        metrics.count_request("/products", "GET", 200, 0.003)
        metrics.count_request("/livez", "GET", 200, 0.003)
        process.report()
    bounds = {f"seconds:{bound}": 2 for bound in metrics.BUCKETS if bound >= 0.005}
    assert total(traffic()) == {"requests:2xx": 2, "seconds:+Inf": 2, REPORTS: 2} | bounds


def commands(own: Any) -> int:
    """Scripts that clients have sent. One that Redis does not know yet is sent twice."""
    stats = own.info("commandstats")
    return int(sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha")))


def test_counting_costs_no_command(own: Any) -> None:
    own.config_resetstat()
    count_everything()
    assert commands(own) == 0


def test_report_costs_one_command(own: Any) -> None:
    process = Reporter()
    process.report()
    own.config_resetstat()
    count_everything()
    process.report()
    assert commands(own) == 1


def test_next_minute_begins_a_new_step(own: Any) -> None:
    add({"requests:2xx": 1}, {})
    let_minutes_pass(own, 1)
    add({"requests:2xx": 2}, {})
    let_minutes_pass(own, 2)
    found = traffic()
    counts = [step.counts and step.counts["requests:2xx"] for step in found.steps]
    assert counts[-4:] in ([1, 2, None, None], [None, 1, 2, None])  # the clock may have passed a minute meanwhile
    assert counts[:-4] == [None] * 57
    assert {after.begins - before.begins for before, after in pairwise(found.steps)} == {MINUTE}
    assert found.steps[-1].begins <= found.at < found.steps[-1].begins + MINUTE


def test_minutes_older_than_an_hour_are_not_shown(own: Any) -> None:
    add({"requests:2xx": 1}, {})
    let_minutes_pass(own, 62)
    assert total(traffic(1)) == {}
    assert total(traffic(24)) == {"requests:2xx": 1}


def test_all_keys_expire(own: Any) -> None:
    add({REPORTS: 1}, {"anonymous 192.0.2.1": 1})
    lifetimes = {name.removeprefix(PREFIX).split(":")[1]: own.ttl(name) for name in own.keys("*")}
    expected = {str(MINUTE): LIFETIMES[MINUTE], str(TEN_MINUTES): LIFETIMES[TEN_MINUTES], "clients": LIFETIMES[HOUR]}
    assert lifetimes.keys() == expected.keys()
    assert all(0 < lifetimes[name] <= expected[name] for name in expected)


def test_fields_are_few_whatever_is_counted() -> None:
    before = totals()
    count_everything()
    fields = totals() - before
    assert len({*fields, REPORTS}) <= MAX_FIELDS
    kinds = {field.partition(":")[0] for field in fields}
    assert kinds == {"requests", "seconds", "pages", "limited", "token", "webhooks"}


def test_a_full_day_fits_into_its_bound(own: Any) -> None:
    fields = {f"webhooks:status-{number:02}": 10**6 + number for number in range(MAX_FIELDS)}
    for caller in range(0, 200, MAX_REPORTED_CLIENTS):
        names = [f"anonymous 2001:db8:{number}:ffff::/64" for number in range(caller, caller + MAX_REPORTED_CLIENTS)]
        add(fields, dict.fromkeys(names, 10**6 + caller))
    for step, lifetime in LIFETIMES.items():
        (name,) = own.keys(f"{PREFIX}:{'clients' if step == HOUR else step}:*")
        head, _, number = name.rpartition(":")
        for ago in range(1, lifetime // step + 1):
            own.copy(name, f"{head}:{int(number) - ago}")
    names = own.keys()
    size = sum(own.memory_usage(name) for name in names)
    assert len(names) == MAX_KEYS
    assert size <= MAX_BYTES


def test_clients_with_the_most_refusals_stay(own: Any) -> None:
    add({}, {"anonymous 192.0.2.1": 1000})
    for number in range(2 * MAX_CLIENTS):
        add({}, {f"anonymous 198.51.100.{number}": 2, "anonymous 192.0.2.1": 1})
    assert traffic().clients.most_common(1) == [("anonymous 192.0.2.1", 1000 + 2 * MAX_CLIENTS)]
    assert all(own.zcard(name) == MAX_CLIENTS for name in own.keys(f"{PREFIX}:clients:*"))


def test_process_counts_a_limited_number_of_clients() -> None:
    clients = LimitedClients()
    for number in range(2 * MAX_COUNTED_CLIENTS):
        clients.add("anonymous", f"{number}" * 100)
        clients.add("anonymous", "0" * 100)
    taken = clients.take()
    assert len(taken) == MAX_COUNTED_CLIENTS
    assert max(map(len, taken)) == 100
    assert clients.take() == {}


def test_counts_during_an_outage_are_dropped(own: Any, redis_alone: Daemon) -> None:
    process = Reporter()
    process.report()
    redis_alone.kill()
    for _ in range(3):
        metrics.count_refusal("anonymous", "192.0.2.1")
        process.report()
    assert Outages.is_away
    assert limited_clients.take() == {}
    assert read(1) is None
    redis_alone.start()
    Outages.end()
    own.flushdb()
    metrics.count_refusal("anonymous", "192.0.2.2")
    process.report()
    assert total(traffic()) == {"limited:anonymous": 1, REPORTS: 1}
    assert traffic().clients == {"anonymous 192.0.2.2": 1}


def test_full_redis_is_not_away(own: Any) -> None:
    """It still serves cached pages."""
    own.config_set("maxmemory", 1)
    add({REPORTS: 1}, {"anonymous 192.0.2.1": 1})
    assert not Outages.is_away


def test_without_metrics_no_thread_reports(settings: Settings) -> None:
    settings.METRICS = False
    process = Reporter()
    process.start()
    assert process._thread is None
    process.stop()


def test_stop_reports_once_more(own: Any) -> None:
    process = Reporter()
    process.start()
    metrics.count_request("/products", "GET", 503, 0.003)
    process.stop()
    assert total(traffic())["requests:5xx"] == 1


@pytest.mark.parametrize(
    ("seconds", "p50", "p95"),
    [
        ([], None, None),
        ([0.003] * 100, 0.00375, 0.004875),  # in the middle between 2.5 and 5 ms
        ([0.003] * 90 + [0.3] * 10, 0.0025 + 0.0025 * 50 / 90, 0.25 + 0.25 / 2),
        ([60.0] * 10, 5.0, 5.0),  # at least
    ],
)
def test_quantiles_are_interpolated(seconds: list[float], p50: float | None, p95: float | None) -> None:
    before = totals()
    for amount in seconds:
        metrics.count_request("/products", "GET", 200, amount)
    grown = totals() - before
    assert quantile(grown, 0.5) == pytest.approx(p50)
    assert quantile(grown, 0.95) == pytest.approx(p95)
