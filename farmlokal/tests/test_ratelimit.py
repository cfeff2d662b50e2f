"""The rate limit: burst and rate, one bucket for all processes, and which address is a client."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings
from redis.commands.core import Script

from dev.testing.redis_keys import forget_keys, own_keys, shared_redis
from dev.testing.servers import Daemon, running
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.client_identity import client_of
from farmlokal.ratelimit.limiter import Decision, LocalBuckets, Policy
from farmlokal.redis import scripts
from farmlokal.redis.scripts import key

Decide = Callable[[str, Policy, int], Decision]

TEN_A_SECOND = Policy("test", 10, 1)


@pytest.fixture
def redis_client() -> Iterator[redis.Redis]:
    with shared_redis() as client:
        forget_keys()
        yield client


def script_by_clock(client: redis.Redis) -> Script:
    """The script, by a clock that the test moves: a fourth argument, in microseconds. Redis expires keys by its own."""
    clock = Path(scripts.__file__).with_name("clock.lua").read_text()
    text = limiter.COUNT.text.replace(clock, "local now = tonumber(ARGV[4])")
    text = text.replace("string.format('%.0f', math.ceil((ends - now) / 1000))", "'600000'")
    assert "TIME" not in text
    assert "ceil" not in text
    return client.register_script(text)


@pytest.fixture(params=["redis", "local"])
def decide(request: pytest.FixtureRequest, redis_client: redis.Redis) -> Decide:
    """In Redis and in this process; the last argument is the time in microseconds."""
    if request.param == "local":
        return LocalBuckets().decide
    script = script_by_clock(redis_client)

    def run(client: str, policy: Policy, now: int) -> Decision:
        room, wait = script(keys=[key(client)], args=[policy.quota, policy.interval, 1, now])
        return Decision(policy, max(room - 1, -1), wait)

    return run


@pytest.mark.parametrize(("quota", "window"), [(10, 1), (120, 60), (1, 60), (7, 60), (1000, 3)])
def test_burst_is_allowed_and_then_the_rate(decide: Decide, quota: int, window: int) -> None:
    policy, now = Policy("test", quota, window), 1_795_000_000_000_000
    burst = [decide("one", policy, now) for _ in range(quota)]
    assert [decision.remaining for decision in burst] == list(range(quota - 1, -1, -1))
    refused = decide("one", policy, now)
    assert refused.is_refused
    assert refused.wait == policy.interval
    assert decide("other", policy, now).remaining == quota - 1
    for n in range(1, 4):
        assert decide("one", policy, now + n * policy.interval - 1).is_refused
        assert decide("one", policy, now + n * policy.interval).remaining == 0


def test_no_window_admits_more_than_burst_and_rate(
    decide: Decide,
) -> None:
    """Calls at random moments, also across the edges of fixed windows."""
    rng, now, admitted = random.Random(3), 10**15, []
    for _ in range(2000):
        now += rng.choice([0, 1000, 20_000, 150_000])
        if not decide("one", TEN_A_SECOND, now).is_refused:
            admitted.append(now)
    for first, start in enumerate(admitted):
        inside = sum(1 for moment in admitted[first:] if moment < start + 1_000_000)
        assert inside <= 10 + 10  # the burst, and the rate of one second
    total_seconds = (admitted[-1] - admitted[0]) / 1e6
    assert len(admitted) <= 10 + math.ceil(total_seconds * 10)


def test_refused_call_costs_nothing_and_wait_is_exact(
    decide: Decide,
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
def test_batch_of_calls_counts_like_single_calls(batches: list[tuple[int, int]]) -> None:
    """batches: microseconds since the last one, and the number of calls."""
    one_by_one, now = LocalBuckets(), 10**15
    with shared_redis() as client:
        client.delete(key("together"))
        script = script_by_clock(client)
        for pause, calls in batches:
            now += pause
            answer = script(keys=[key("together")], args=[TEN_A_SECOND.quota, TEN_A_SECOND.interval, calls, now])
            decisions = limiter.decisions(TEN_A_SECOND, "together", calls, answer)
            assert decisions == [one_by_one.decide("one", TEN_A_SECOND, now) for _ in range(calls)]


def test_bucket_expires_when_it_is_full_again(redis_client: redis.Redis) -> None:
    limiter.decide(TEN_A_SECOND, "192.0.2.1")
    (bucket,) = own_keys(redis_client, "limit")
    assert 0 < redis_client.pttl(bucket) <= 1000


def test_clock_set_back_refuses_no_call(redis_client: redis.Redis) -> None:
    script = script_by_clock(redis_client)
    hour = 3_600_000_000
    for now in (2 * hour, hour):
        room, _ = script(keys=[key("stepped")], args=[TEN_A_SECOND.quota, TEN_A_SECOND.interval, 1, now])
        assert room == TEN_A_SECOND.quota


def test_without_writes_to_redis_the_process_counts(redis_alone: Daemon) -> None:
    limiter.buckets.reset()
    with redis.Redis.from_url(redis_alone.url) as client:
        client.config_set("maxmemory", 1)
    policy = Policy("test", 10, 3600)
    refusals = [limiter.decide(policy, "192.0.2.1").is_refused for _ in range(12)]
    assert refusals == [False] * 10 + [True] * 2


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
def test_client_is_the_address_the_outermost_proxy_saw(
    settings: Settings, hops: int, forwarded: str, client: str
) -> None:
    settings.TRUSTED_PROXY_HOPS = hops
    assert client_of("192.0.2.1", forwarded) == client


@given(st.text(), st.integers(1, 3))
def test_entries_that_a_client_writes_are_ignored(entry: str, hops: int) -> None:
    from django.test import override_settings  # noqa: PLC0415  # all examples would share a fixture

    proxies = ["198.51.100.1", "198.51.100.2", "198.51.100.3"][:hops]
    with override_settings(TRUSTED_PROXY_HOPS=hops):
        assert client_of("192.0.2.1", ",".join([entry, *proxies])) == "198.51.100.1"
    with override_settings(TRUSTED_PROXY_HOPS=0):
        assert client_of("192.0.2.1", entry) == "192.0.2.1"


# Over HTTP


def test_rate_limit_fields_under_plain_wsgi(client: Client, settings: Settings, redis_client: redis.Redis) -> None:
    settings.RATE_LIMIT_ANONYMOUS = (2, 60)
    answers = [client.get("/products?limit=0") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 429]
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"anonymous";q=2;w=60'}
    assert answers[0]["RateLimit"] == '"anonymous";r=1;t=30'
    assert answers[2]["RateLimit"] == f'"anonymous";r=0;t={answers[2]["Retry-After"]}'
    assert answers[2].json()["code"] == "rate-limited"
    assert "RateLimit" not in client.get("/livez")


FORGED = ["", "1.2.3.4", "127.0.0.1", "::1", "garbage", ",,,", "203.0.113.1, 203.0.113.2", "\t", "a" * 3000]


def test_forged_header_gains_no_calls(database_environment: dict[str, str], redis_client: redis.Redis) -> None:
    with running(database_environment, RATE_LIMIT_ANONYMOUS="3/3600") as server:
        for forged in FORGED:
            forget_keys()
            answers = [server.request("/products?limit=0", X_Forwarded_For=forged + n * " ") for n in range(5)]
            assert [answer.status for answer in answers] == [400, 400, 400, 429, 429], forged
            assert answers[3].json["code"] == "rate-limited"


CALLS = """
import os, sys, http.client, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
ports, until = [int(port) for port in sys.argv[1].split(",")], time.time() + float(sys.argv[2])
def call(n):
    admitted, connection = 0, http.client.HTTPConnection("127.0.0.1", ports[n % len(ports)], timeout=60)
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


def test_two_servers_share_one_bucket(database_environment: dict[str, str], redis_client: redis.Redis) -> None:
    """In real time: two servers of two processes, 200 connections from one address."""
    limit: dict[str, Any] = {"RATE_LIMIT_ANONYMOUS": "40/4"}
    with running(database_environment, **limit) as one, running(database_environment, **limit) as other:
        forget_keys()
        command, start = [sys.executable, "-c", CALLS, f"{one.port},{other.port}", "3"], time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, check=True), range(4)))
        seconds = time.monotonic() - start
    admitted = sum(int(run.stdout) for run in runs)
    assert 40 < admitted <= 40 + 10 * seconds
