"""Quotes from a service of several processes: each fault of the partner, and an outage of the partner and of Redis.

`make bench-partner` measures how close to the deadline the answers are.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPMethod
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from dev.testing.offers import make_offer
from dev.testing.partner import FAILURES_TO_OPEN, partner, settings_for
from dev.testing.servers import Daemon, Server, free_port, own_redis, running
from dev.testing.sockets import answer_with, blackhole, listening, make_certificate
from dev.testing.waiting import wait_until
from farmlokal.outbound.client import Answer
from farmlokal.redis.scripts import key
from integrations.client import Client
from integrations.exceptions import CallError
from integrations.sandbox.faults import HOW, Faults
from integrations.sandbox.server import Sandbox
from integrations.tests.memory import reset_all

pytestmark = pytest.mark.usefixtures("live_database")

OPEN_SECONDS = 5
CALLERS = 32
DEADLINE = 1.0
HANG_SECONDS = 15  # only a call without a deadline takes longer, on a busy machine too
EMPTY = answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


class Call(NamedTuple):
    began: float
    seconds: float
    code: str  # of the problem, or "200"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    reset_all()
    with partner() as found:
        yield found


@pytest.fixture(scope="module")
def product_id(live_database: None) -> int:
    return make_offer().pk


def environment_of(environment: dict[str, str], sandbox: Sandbox, **more: str) -> dict[str, str]:
    return {**environment, **settings_for(sandbox), "PARTNER_DEADLINE_SECONDS": str(DEADLINE), **more}


def ask(server: Server, product_id: int, number: int) -> Call:
    began = time.monotonic()
    answer = server.request(f"/products/{product_id}/delivery-quote?pincode={100000 + number}")
    code = "200" if answer.status == 200 else answer.json["code"]
    return Call(began, time.monotonic() - began, code)


# Faults


FAULTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "refuses connections": ("partner-unavailable", "http://127.0.0.1:{closed}", {}),
    "is a blackhole": ("partner-timeout", "http://127.0.0.1:{hole}", {}),
    "has an untrusted certificate": ("partner-unavailable", "https://localhost:{tls}", {}),
    "never answers": ("partner-timeout", "", {"how": "silent"}),
    "drips headers": ("partner-timeout", "", {"how": "drip-headers"}),
    "drips its body": ("partner-timeout", "", {"how": "drip-body"}),
    "hangs up in its answer": ("partner-unavailable", "", {"how": "reset"}),
    "sends 200 MB": ("partner-unavailable", "", {"how": "huge"}),
    "answers malformed JSON": ("partner-unavailable", "", {"how": "bad-json"}),
    "answers 429 for an hour": ("partner-unavailable", "", {"error_rate": 1, "status": 429, "retry_after": 3600}),
    "answers 500": ("partner-unavailable", "", {"error_rate": 1}),
    "answers 422": ("partner-rejected", "", {"error_rate": 1, "status": 422}),
    "exceeds the deadline": ("partner-timeout", "", {"latency_ms": DEADLINE * 1000 + 200}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_partner_that(
    fault: str, sandbox: Sandbox, database_environment: dict[str, str], product_id: int, tmp_path: Path
) -> None:
    """24 calls at once; the breaker would open at the 25th failure."""
    expected, url, faults = FAULTS[fault]
    sandbox.faults = Faults(**faults)
    with blackhole() as hole, listening(EMPTY, make_certificate(tmp_path)[0]) as tls:
        urls = {"PARTNER_API_URL": url.format(closed=free_port(), hole=hole, tls=tls)} if url else {}
        environment = environment_of(database_environment, sandbox, **urls, WEB_CONCURRENCY="1")
        with running(environment) as server, ThreadPoolExecutor(FAILURES_TO_OPEN - 1) as pool:
            calls = list(pool.map(lambda number: ask(server, product_id, number), range(FAILURES_TO_OPEN - 1)))
    codes = Counter(call.code for call in calls)
    assert expected in codes
    assert codes.keys() <= {expected, "partner-timeout"}
    # On a busy machine the deadline of some calls passes.
    assert all(call.seconds > DEADLINE - 0.1 for call in calls if call.code == "partner-timeout")
    assert max(call.seconds for call in calls) < HANG_SECONDS
    assert len(sandbox.arrivals) <= 1.1 * len(calls)


def test_stalled_name_resolution_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    reset_all()
    resolve, is_over = socket.getaddrinfo, threading.Event()

    def stall(host: str, *args: Any, **options: Any) -> Any:
        if host != "stalls.example":
            return resolve(host, *args, **options)
        if not options.get("flags", 0) & socket.AI_NUMERICHOST:
            is_over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", stall)
    client = Client("test", lambda ends: "token", lambda token: None, lambda: DEADLINE)
    calls = call_at_once(client, "http://stalls.example/")
    is_over.set()
    assert {error for error, _ in calls} == {"TimedOutError"}
    assert max(seconds for _, seconds in calls) < HANG_SECONDS


def call_at_once(client: Client, url: str) -> list[tuple[str, float]]:
    """The errors and seconds of 24 calls."""

    def call(_: int) -> tuple[str, float]:
        began = time.monotonic()
        try:
            client.request(HTTPMethod.GET, url, Answer.__repr__, ends=began + DEADLINE)
        except CallError as error:
            return type(error).__name__, time.monotonic() - began
        return "", time.monotonic() - began

    client.breaker.reset()
    with ThreadPoolExecutor(FAILURES_TO_OPEN - 1) as pool:
        return list(pool.map(call, range(FAILURES_TO_OPEN - 1)))


def test_failed_calls_leave_no_thread_or_socket(sandbox: Sandbox) -> None:
    client = Client("test", lambda ends: "token", lambda token: None, lambda: DEADLINE)

    def sockets() -> int:
        """Open connections from this process to the partner."""
        lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        to_partner = {f"socket:[{line[9]}]" for line in lines if line[2].endswith(f":{sandbox.server_port:04X}")}
        opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return len(to_partner.intersection(opened))

    for faults in [Faults(error_rate=1), *(Faults(how=how) for how in HOW)]:
        sandbox.faults = faults
        call_at_once(client, f"{sandbox.url}/v1/quotes")
    assert sockets() <= CALLERS  # kept for the next call
    threads = threading.active_count()
    for how in HOW.keys() - {"bad-json"}:  # it leaves a usable connection
        sandbox.faults = Faults(how=how)
        call_at_once(client, f"{sandbox.url}/v1/quotes")
    assert sockets() == 0
    wait_until(lambda: threading.active_count() <= threads)


# An outage


class Load:
    """32 callers that ask for ever new quotes."""

    def __init__(self, server: Server, product_id: int) -> None:
        self.calls: list[Call] = []
        self._counts = [0] * CALLERS  # ended calls of each caller
        self._has_ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(server, product_id, n)) for n in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _run(self, server: Server, product_id: int, caller: int) -> None:
        while not self._has_ended.is_set():
            self.calls.append(ask(server, product_id, self._counts[caller] * CALLERS + caller))
            self._counts[caller] += 1
            self._has_ended.wait(0.1)

    def wait_for_calls(self) -> None:
        """Wait until each caller has begun and ended two calls, so that every process has had some.

        Calls that are under way now have ended, too.
        """
        ends = [count + 3 for count in self._counts]
        wait_until(lambda: all(count >= end for count, end in zip(self._counts, ends, strict=True)))

    def end(self) -> None:
        self._has_ended.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def load(
    sandbox: Sandbox, database_environment: dict[str, str], product_id: int, tmp_path: Path
) -> Iterator[tuple[Load, Daemon]]:
    """On a service of four processes whose partner fails, with its own Redis."""
    sandbox.faults = Faults(error_rate=1)
    with own_redis(tmp_path) as own:
        # The longest timeout: on a busy machine Redis is slow, not silent. Without it, each process decides alone.
        patient = {"PARTNER_DEADLINE_SECONDS": "10", "REDIS_TIMEOUT_SECONDS": "1"}
        patient |= {"WEB_CONCURRENCY": "4", "REDIS_URL": own.url}
        with running(environment_of(database_environment, sandbox, **patient)) as server:
            load = Load(server, product_id)
            try:
                yield load, own
            finally:
                load.end()


def opening_time(client: redis.Redis) -> float:
    """Wait until the breaker is open. Return when it opened, by time.monotonic."""
    record: dict[Any, Any] = {}

    def is_open() -> bool:
        record.update(client.hgetall(key("breaker", "partner")))
        return record.get(b"state") == b"open"

    wait_until(is_open)
    return int(record[b"epoch"]) / 1_000_000 - time.time() + time.monotonic()  # microseconds by Redis's clock


def test_processes_share_one_breaker_and_one_probe(sandbox: Sandbox, load: tuple[Load, Daemon]) -> None:
    callers, own = load
    with redis.Redis.from_url(own.url) as client:
        opened_at = opening_time(client)
    callers.wait_for_calls()  # a process may have stood still since the breaker admitted its call
    arrivals = list(sandbox.arrivals)
    assert len(arrivals) >= FAILURES_TO_OPEN
    before = [call for call in callers.calls if call.began <= arrivals[-1]]
    assert len(arrivals) <= 1.1 * len(before) + 1
    sandbox.faults = Faults(error_rate=1, latency_ms=500)  # so that many calls begin during the probe
    wait_until(lambda: len(sandbox.arrivals) > len(arrivals))
    probe_at = sandbox.arrivals[len(arrivals)]
    assert probe_at - opened_at > OPEN_SECONDS - 0.5
    callers.wait_for_calls()
    assert [at for at in list(sandbox.arrivals) if at < probe_at + 2 * OPEN_SECONDS - 0.5][-1] == probe_at
    sandbox.faults = Faults()
    wait_until(lambda: callers.calls[-1].code == "200")
    assert {call.code for call in callers.calls} == {"partner-unavailable", "200"}


def test_held_breaker_survives_an_outage_of_redis(sandbox: Sandbox, load: tuple[Load, Daemon]) -> None:
    callers, own = load
    with redis.Redis.from_url(own.url) as client:
        state = {"epoch": str(2**53), "state": "held", "ends": "0", "streak": "0"}
        client.hset(key("breaker", "partner"), mapping=state)
        callers.wait_for_calls()
        arrivals = len(sandbox.arrivals)
        client.flushall()
        callers.wait_for_calls()
        own.kill()
        callers.wait_for_calls()
        own.start()
        callers.wait_for_calls()
    assert len(sandbox.arrivals) == arrivals
    assert {call.code for call in callers.calls} == {"partner-unavailable"}


# Identical quotes

BURNING = "import time; end = time.monotonic() + 120\nwhile time.monotonic() < end: pass"
PROCESSES = 4


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Two processes that use all the CPU they get."""
    burners = [subprocess.Popen([sys.executable, "-c", BURNING]) for _ in range(2)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def ask_two_hundred_times(environment: dict[str, str], sandbox: Sandbox, product_id: int) -> None:
    patient = {"WEB_CONCURRENCY": str(PROCESSES), "PARTNER_DEADLINE_SECONDS": "30"}
    with running({**environment_of(environment, sandbox), **patient}) as server, ThreadPoolExecutor(200) as pool:
        calls = list(pool.map(lambda _: ask(server, product_id, 7), range(200)))
    assert Counter(call.code for call in calls) == {"200": 200}


@pytest.mark.parametrize("latency_ms", [0, 50, 500])
def test_identical_quotes_are_one_call_on_busy_cores(
    sandbox: Sandbox, database_environment: dict[str, str], product_id: int, latency_ms: int
) -> None:
    sandbox.faults = Faults(latency_ms=latency_ms)
    with busy_cores():
        ask_two_hundred_times(database_environment, sandbox, product_id)
    assert sandbox.calls == {"tokens": 1, "quotes": 1}


@pytest.mark.parametrize("latency_ms", [0, 500])
def test_identical_quotes_without_redis_are_one_call_per_process(
    sandbox: Sandbox, database_environment: dict[str, str], product_id: int, latency_ms: int
) -> None:
    sandbox.faults = Faults(latency_ms=latency_ms)
    environment = {**database_environment, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    ask_two_hundred_times(environment, sandbox, product_id)
    assert sandbox.calls["quotes"] <= PROCESSES
    assert sandbox.calls["tokens"] <= PROCESSES


def test_listing_does_not_wait_for_the_partner(
    sandbox: Sandbox, database_environment: dict[str, str], product_id: int
) -> None:
    sandbox.faults = Faults(how="silent")
    environment = environment_of(database_environment, sandbox, WEB_CONCURRENCY="1", PARTNER_DEADLINE_SECONDS="15")
    with running(environment) as server, ThreadPoolExecutor(24) as pool:
        waiting = [pool.submit(ask, server, product_id, number) for number in range(24)]
        wait_until(lambda: len(sandbox.arrivals) >= 16)
        assert server.request("/products?price_min=7").status == 200
        assert not any(call.done() for call in waiting)
        assert {call.result().code for call in waiting} == {"partner-timeout"}
