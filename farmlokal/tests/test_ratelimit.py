"""The limit: its burst and then its rate, by one script for all processes, and who counts as one client."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from dev.testing.servers import running
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.client_identity import client_of
from farmlokal.ratelimit.limiter import Decision, LocalBuckets, Policy
from farmlokal.redis.scripts import CLOCK_LUA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client
    from pytest_django.fixtures import Settings

    from dev.testing.servers import Daemon

TEN_A_SECOND = Policy("test", 10, 1)

Decide = "Callable[[str, Policy, int], Decision]"


@pytest.fixture
def client_of_redis() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client


@pytest.fixture(params=["redis", "local"])
def decide(request: pytest.FixtureRequest, client_of_redis: redis.Redis) -> Callable[[str, Policy, int], Decision]:
    """Both homes of the arithmetic, by a clock that the test moves (microseconds)."""
    if request.param == "local":
        return LocalBuckets().decide
    text = limiter.COUNT.text.replace(CLOCK_LUA, "local now = tonumber(ARGV[4])")
    assert "TIME" not in text
    script = client_of_redis.register_script(text)

    def run(client: str, policy: Policy, now: int) -> Decision:
        room, wait = script(keys=[client], args=[policy.quota, policy.interval, 1, now])
        return Decision(policy, max(room - 1, -1), wait)

    return run


@pytest.mark.parametrize(("quota", "window"), [(10, 1), (120, 60), (1, 60), (7, 60), (1000, 3)])
def test_a_burst_and_then_the_rate(decide: Callable[[str, Policy, int], Decision], quota: int, window: int) -> None:
    policy, now = Policy("test", quota, window), 1_795_000_000_000_000
    found = [decide("one", policy, now) for _ in range(quota)]
    assert [decision.remaining for decision in found] == list(range(quota - 1, -1, -1))
    refused = decide("one", policy, now)
    assert refused.is_refused
    assert refused.wait == policy.interval
    assert decide("other", policy, now).remaining == quota - 1
    for n in range(1, 4):
        assert decide("one", policy, now + n * policy.interval - 1).is_refused
        assert decide("one", policy, now + n * policy.interval).remaining == 0


def test_no_window_of_any_place_holds_more_than_burst_and_rate(
    decide: Callable[[str, Policy, int], Decision],
) -> None:
    """Who calls again and again, at random moments: also across what would be the edge of a fixed window."""
    rng, now, admitted = random.Random(3), 10**15, []
    for _ in range(2000):
        now += rng.choice([0, 1000, 20_000, 150_000])
        if not decide("one", TEN_A_SECOND, now).is_refused:
            admitted.append(now)
    for first, start in enumerate(admitted):
        inside = sum(1 for moment in admitted[first:] if moment < start + 1_000_000)
        assert inside <= 10 + 10  # the burst, and what came back in the second
    total_seconds = (admitted[-1] - admitted[0]) / 1e6
    assert len(admitted) <= 10 + math.ceil(total_seconds * 10)


def test_a_refused_call_costs_nothing_and_t_is_when_there_is_one_more(
    decide: Callable[[str, Policy, int], Decision],
) -> None:
    now = 10**15
    for _ in range(10):
        decide("one", TEN_A_SECOND, now)
    for _ in range(50):
        assert decide("one", TEN_A_SECOND, now).wait == 100_000
    assert decide("one", TEN_A_SECOND, now + 100_000).remaining == 0
    half_way = decide("two", TEN_A_SECOND, now)
    assert (half_way.remaining, half_way.wait) == (9, 100_000)
    later = decide("two", TEN_A_SECOND, now + 30_000)
    assert (later.remaining, later.wait) == (8, 70_000)


@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 15)), max_size=20))
def test_calls_that_come_together_are_counted_as_one_by_one(arrivals: list[tuple[int, int]]) -> None:
    """arrivals: the microseconds since the last one, and how many calls of the client came then."""
    one_by_one, now = LocalBuckets(), 10**15
    text = limiter.COUNT.text.replace(CLOCK_LUA, "local now = tonumber(ARGV[4])")
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.delete("together")
        script = client.register_script(text)
        for pause, calls in arrivals:
            now += pause
            answer = script(keys=["together"], args=[TEN_A_SECOND.quota, TEN_A_SECOND.interval, calls, now])
            found = limiter.decisions(TEN_A_SECOND, "together", calls, answer)
            assert found == [one_by_one.decide("one", TEN_A_SECOND, now) for _ in range(calls)]


def test_clients_that_are_gone_are_forgotten(client_of_redis: redis.Redis) -> None:
    limiter.decide(TEN_A_SECOND, "192.0.2.1")
    (key,) = client_of_redis.keys("*limit*")
    assert 0 < client_of_redis.pttl(key) <= 1000


def test_a_redis_that_takes_no_writes_is_one_that_is_away(redis_alone: Daemon) -> None:
    limiter.buckets.reset()
    with redis.Redis.from_url(redis_alone.url) as client:
        client.config_set("maxmemory", 1)
    found = [limiter.decide(TEN_A_SECOND, "192.0.2.1").is_refused for _ in range(12)]
    assert found == [False] * 10 + [True] * 2


# Clients


@pytest.mark.parametrize(
    ("hops", "forwarded", "client"),
    [
        (0, "203.0.113.7", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7", "198.51.100.1"),
        (2, "203.0.113.7", "192.0.2.1"),
        (1, "203.0.113.7:4711", "203.0.113.7"),
        (1, "[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
        (1, "unknown", "192.0.2.1"),
        (1, "203.0.113.7, ", "192.0.2.1"),
        (1, "999.1.1.1", "192.0.2.1"),
        (1, "203.0.113.\u0667", "192.0.2.1"),
    ],
)
def test_who_a_client_is(settings: Settings, hops: int, forwarded: str, client: str) -> None:
    settings.TRUSTED_PROXY_HOPS = hops
    assert client_of("192.0.2.1", forwarded) == client


@given(st.text(), st.integers(1, 3))
def test_what_a_client_writes_in_front_changes_nothing(written: str, hops: int) -> None:
    from django.test import override_settings  # noqa: PLC0415  # a fixture would be shared by all examples

    proxies = ["198.51.100.1", "198.51.100.2", "198.51.100.3"][:hops]
    with override_settings(TRUSTED_PROXY_HOPS=hops):
        assert client_of("192.0.2.1", ",".join([written, *proxies])) == "198.51.100.1"
    with override_settings(TRUSTED_PROXY_HOPS=0):
        assert client_of("192.0.2.1", written) == "192.0.2.1"


# Over HTTP


def test_the_fields_under_plain_wsgi(client: Client, settings: Settings, client_of_redis: redis.Redis) -> None:
    settings.RATE_LIMIT_ANONYMOUS = (2, 60)
    answers = [client.get("/products?limit=0") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 429]
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"anonymous";q=2;w=60'}
    assert answers[0]["RateLimit"] == '"anonymous";r=1;t=30'
    assert answers[2]["RateLimit"] == f'"anonymous";r=0;t={answers[2]["Retry-After"]}'
    assert answers[2].json()["code"] == "rate-limited"
    assert "RateLimit" not in client.get("/livez")


@pytest.mark.parametrize(
    "forged", ["", "1.2.3.4", "127.0.0.1", "::1", "garbage", ",,,", "203.0.113.1, 203.0.113.2", "\t", "a" * 3000]
)
def test_a_forged_header_gets_nobody_more(database_environment: dict[str, str], forged: str) -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as cleared:
        cleared.flushdb()
    with running(database_environment, RATE_LIMIT_ANONYMOUS="3/3600") as server:
        answers = [server.request("/products?limit=0", X_Forwarded_For=forged + n * " ") for n in range(5)]
        assert [answer.status for answer in answers] == [400, 400, 400, 429, 429]
        assert answers[3].json["code"] == "rate-limited"


CALLS = """
import os, sys, http.client, time
from concurrent.futures import ThreadPoolExecutor
ports, until = [int(port) for port in sys.argv[1].split(",")], float(sys.argv[2])
def call(n):
    admitted, connection = 0, http.client.HTTPConnection("127.0.0.1", ports[n % len(ports)], timeout=20)
    while time.time() < until:
        connection.request("GET", "/products?limit=0")
        answer = connection.getresponse()
        answer.read()
        admitted += answer.status == 400
        assert answer.status in (400, 429), answer.status
    return admitted
with ThreadPoolExecutor(50) as callers:
    print(sum(callers.map(call, range(50))))
"""


def test_two_hundred_clients_of_one_address_share_one_bucket(database_environment: dict[str, str]) -> None:
    """By Redis's clock, in real time: two servers of two processes each, four processes that call."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as cleared:
        cleared.flushdb()
    limit: dict[str, Any] = {"RATE_LIMIT_ANONYMOUS": "40/4"}
    with running(database_environment, **limit) as one, running(database_environment, **limit) as other:
        ports, start = f"{one.port},{other.port}", time.time()
        command = [sys.executable, "-c", CALLS, ports, str(start + 6)]
        with ThreadPoolExecutor(4) as pool:
            runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, check=True), range(4)))
        seconds = time.time() - start
        admitted = sum(int(run.stdout) for run in runs)
    assert 40 + 10 * 4 < admitted <= 40 + 10 * seconds
