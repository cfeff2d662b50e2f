"""A Redis that hangs costs each thread, and the event loop, one timeout; a stalled process is not a silent Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import redis
import uvloop
from django.conf import settings
from pytest_django.fixtures import Settings

from dev.testing.proxy import Proxy
from dev.testing.servers import Daemon
from dev.testing.waiting import wait_until
from farmlokal.edge.shares import ADMIT_BATCH
from farmlokal.observability import request_costs
from farmlokal.redis import async_connection, client, url
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.async_connection import AsyncConnection, RedisAwayError
from farmlokal.redis.client import Outages, ask, run, until
from farmlokal.redis.nodes import SentinelMaster
from farmlokal.redis.scripts import DELETE_KEY, Call, Script
from products.catalogue_cache import catalogue_cache

ONE = Script("return {1}")
COUNT = Script("return {redis.call('INCR', KEYS[1])}")
READ = Script("return {redis.call('GET', KEYS[1])}")
CALLS = 100
NEVER_SECONDS = 600  # longer than any test
ASK = """
import sys, django
django.setup()
from farmlokal.redis.client import Outages, run
from farmlokal.redis.scripts import Script
print(run(Script("return 1"), []), flush=True)
print("asking", flush=True)
print(run(Script("return 2"), []), Outages.is_away, flush=True)
"""

GENERATION = catalogue_cache.generation_key


@pytest.fixture(autouse=True)
def _no_outage() -> Iterator[None]:
    yield
    Outages.end()


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ends an outage but the test."""
    monkeypatch.setattr(client, "PAUSE_SECONDS", NEVER_SECONDS)


def commands_sent(*, insists: bool) -> int:
    """The number of commands that reach the network in 100 calls."""
    before = request_costs.current.commands
    for _ in range(CALLS):
        assert run(ONE, [], insists=insists) is None
    return request_costs.current.commands - before


# Threads


@pytest.mark.parametrize("insists", [False, True])
def test_thread_waits_for_a_hung_redis_only_once(redis_alone: Daemon, insists: bool) -> None:
    assert run(ONE, []) == [1]
    redis_alone.freeze()
    assert run(ONE, [], insists=insists) is None
    assert commands_sent(insists=insists) == 0
    redis_alone.thaw()
    wait_until(lambda: run(ONE, []) == [1])


def test_deadline_is_no_outage_and_the_command_still_runs(redis_alone: Daemon) -> None:
    assert run(COUNT, [GENERATION]) == [1]
    redis_alone.freeze()
    with until(time.monotonic() + 0.05):
        assert run(COUNT, [GENERATION]) is None
    assert not Outages.is_away
    redis_alone.thaw()
    wait_until(lambda: run(READ, [GENERATION]) == [b"2"])


def test_only_insisting_calls_try_a_dead_redis(redis_alone: Daemon, no_probe: None) -> None:
    redis_alone.kill()
    assert run(ONE, []) is None
    assert commands_sent(insists=False) == 0
    redis_alone.start()
    assert run(ONE, [], insists=True) == [1]
    assert commands_sent(insists=False) == 0


def test_probe_ends_the_outage_of_a_dead_redis(redis_alone: Daemon) -> None:
    redis_alone.kill()
    assert run(ONE, []) is None
    redis_alone.start()
    wait_until(lambda: run(ONE, []) == [1])


def test_redis_that_refuses_writes_stays_away(redis_alone: Daemon) -> None:
    with redis.Redis.from_url(redis_alone.url) as other:
        other.replicaof("127.0.0.1", 1)
        assert run(DELETE_KEY, [GENERATION]) is None
        losses = Outages.losses
        wait_until(lambda: Outages.losses > losses + 1)  # two probes have failed
        assert commands_sent(insists=False) == 0
        other.replicaof("NO", "ONE")
    wait_until(lambda: run(ONE, []) == [1])


def test_silence_releases_a_waiting_thread(redis_alone: Daemon, settings: Settings) -> None:
    settings.REDIS_TIMEOUT_SECONDS = NEVER_SECONDS
    assert run(ONE, []) == [1]  # opens a connection
    redis_alone.freeze()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, ONE, [])

        def is_released() -> bool:
            Outages.note(redis.TimeoutError("found by another thread"))  # again, if the thread did not wait yet
            return waiting.done()

        try:
            wait_until(is_released)
        finally:
            redis_alone.thaw()
    assert isinstance(waiting.exception(), redis.TimeoutError)


def test_answer_that_came_while_the_process_stood_still_counts(redis_alone: Daemon) -> None:
    with Proxy(redis_alone.url) as proxy:
        changed = {"REDIS_URL": proxy.url, "REDIS_TIMEOUT_SECONDS": "1"}
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "farmlokal.settings", **changed}
        command = [sys.executable, "-c", ASK]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "1\n"
            proxy.behave("slow", 0.3)
            assert process.stdout.readline() == "asking\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGSTOP)
            time.sleep(2)
            process.send_signal(signal.SIGCONT)
            assert process.stdout.readline() == "2 False\n"


# Roles


class StaleSeed(SentinelMaster):
    """Names a server that is a master no longer."""

    def _discover(self) -> None:
        self._master = self._servers.hosts[0]


def test_replica_is_not_taken_for_the_master(redis_alone: Daemon) -> None:
    with redis.Redis.from_url(redis_alone.url) as other:
        other.replicaof("127.0.0.1", 1)
    nodes = StaleSeed(url.read(f"redis+sentinel://{urlsplit(redis_alone.url).netloc}/farm"))
    with pytest.raises(redis.ConnectionError, match="this server is a replica"):
        nodes.pool_of("").get_connection()

    async def connect() -> None:
        await AsyncConnection(nodes, nodes.address_of(""), 1).open([])

    with pytest.raises(redis.ConnectionError, match="this server is a replica"):
        uvloop.run(connect())


# The event loop


@contextlib.asynccontextmanager
async def connected(server: Daemon) -> AsyncIterator[AsyncClient]:
    edge = AsyncClient(server.url, [ADMIT_BATCH], Call(DELETE_KEY, [GENERATION]))
    try:
        yield edge
    finally:
        await edge.close()


def run_in_loop(server: Daemon, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
    async def go() -> None:
        async with connected(server) as edge:
            await work(edge)

    uvloop.run(go())


async def wait_until_async(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)


async def answers(edge: AsyncClient) -> bool:
    try:
        return bool(await edge.run(ONE, [], []) == [1])
    except RedisAwayError:
        return False


async def until_it_answers(edge: AsyncClient) -> None:
    await wait_until_async(lambda: answers(edge))


async def assert_never_waits(edge: AsyncClient) -> None:
    """A client that waits for each answer takes CALLS * REDIS_TIMEOUT_SECONDS: 20 s."""
    async with asyncio.timeout(10):
        for _ in range(CALLS):
            assert not await answers(edge)


def test_event_loop_waits_for_a_hung_redis_only_once(redis_alone: Daemon) -> None:
    async def work(edge: AsyncClient) -> None:
        await until_it_answers(edge)
        redis_alone.freeze()
        await assert_never_waits(edge)
        redis_alone.thaw()
        await until_it_answers(edge)

    run_in_loop(redis_alone, work)


def test_new_process_waits_for_a_hung_redis_only_once(redis_alone: Daemon) -> None:
    async def work(edge: AsyncClient) -> None:
        redis_alone.freeze()
        await assert_never_waits(edge)
        redis_alone.thaw()
        await until_it_answers(edge)

    run_in_loop(redis_alone, work)


def test_event_loop_believes_in_silence_that_a_thread_found(redis_alone: Daemon, no_probe: None) -> None:
    async def work(edge: AsyncClient) -> None:
        await until_it_answers(edge)
        Outages.note(redis.TimeoutError("found by a thread"))
        assert not await answers(edge)
        Outages.end()
        assert await answers(edge)

    run_in_loop(redis_alone, work)


def test_stalled_event_loop_is_not_a_silent_redis(redis_alone: Daemon) -> None:
    async def work(edge: AsyncClient) -> None:
        await until_it_answers(edge)
        answer = asyncio.ensure_future(edge.run(ONE, [], []))
        await asyncio.sleep(0)  # it is sent
        time.sleep(3 * settings.REDIS_TIMEOUT_SECONDS)
        assert await answer == [1]
        assert not Outages.is_away

    run_in_loop(redis_alone, work)


def test_short_silence_keeps_the_connection(redis_alone: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection would forget the generation, since Redis may have missed writes."""
    monkeypatch.setattr(async_connection, "PATIENCE_SECONDS", NEVER_SECONDS)

    async def work(edge: AsyncClient) -> None:
        await until_it_answers(edge)
        with redis.Redis.from_url(redis_alone.url) as other:
            other.set(GENERATION, "1")
            redis_alone.freeze()
            assert not await answers(edge)
            redis_alone.thaw()
            await until_it_answers(edge)
            assert other.get(GENERATION) == b"1"

    run_in_loop(redis_alone, work)


def test_late_answer_is_not_taken_for_the_next_commands(redis_alone: Daemon) -> None:
    async def work(edge: AsyncClient) -> None:
        await until_it_answers(edge)
        redis_alone.freeze()
        with pytest.raises(RedisAwayError):
            await edge.run(Script("return {'late'}"), [], [])
        redis_alone.thaw()
        await until_it_answers(edge)

    run_in_loop(redis_alone, work)


def test_long_silence_forgets_the_generation(redis_alone: Daemon) -> None:
    async def work(edge: AsyncClient) -> None:
        async def is_lost() -> bool:
            return Outages.losses > losses

        await until_it_answers(edge)
        losses = Outages.losses
        with redis.Redis.from_url(redis_alone.url) as other:
            other.set(GENERATION, "1")
            redis_alone.freeze()
            assert not await answers(edge)
            await wait_until_async(is_lost)
            redis_alone.thaw()
            await until_it_answers(edge)
            assert other.get(GENERATION) is None

    run_in_loop(redis_alone, work)


def test_restarted_redis_is_noticed_without_a_command(redis_alone: Daemon) -> None:
    async def work(edge: AsyncClient) -> None:
        async def is_lost() -> bool:
            return Outages.losses > losses

        await until_it_answers(edge)
        losses = Outages.losses
        redis_alone.kill()
        await wait_until_async(is_lost)
        redis_alone.start()
        await until_it_answers(edge)

    run_in_loop(redis_alone, work)
