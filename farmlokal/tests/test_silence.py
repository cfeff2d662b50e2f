"""A Redis that hangs costs each thread, and the event loop, one timeout; a stalled process is not a silent Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings

from dev.testing.proxy import Proxy
from dev.testing.waiting import wait_until
from farmlokal.edge.batching import ADMIT
from farmlokal.observability import request_costs
from farmlokal.redis import async_client
from farmlokal.redis.async_client import Pipeline, RedisAwayError
from farmlokal.redis.client import Outages, run, until
from farmlokal.redis.scripts import FORGET, Script
from products.page_cache import catalogue_cache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pytest_django.fixtures import Settings

    from dev.testing.servers import Daemon

ONE = Script("return {1}")
CALLS = 100
MUCH_LESS_SECONDS = 20  # than CALLS timeouts
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


def commands(*, insists: bool) -> int:
    """How many commands Redis gets of so many calls."""
    before = request_costs.current.commands
    for _ in range(CALLS):
        assert run(ONE, [], insists=insists) is None
    return request_costs.current.commands - before


# Threads


@pytest.mark.parametrize("insists", [False, True])
def test_after_one_timeout_no_thread_asks_a_hung_redis(redis_alone: Daemon, insists: bool) -> None:
    assert run(ONE, []) == [1]
    redis_alone.freeze()
    assert run(ONE, [], insists=insists) is None
    assert commands(insists=insists) == 0
    redis_alone.thaw()
    wait_until(lambda: run(ONE, []) == [1])


def test_deadline_of_a_caller_is_no_outage_and_its_command_still_runs(redis_alone: Daemon) -> None:
    counter = Script("return {redis.call('INCR', KEYS[1])}")
    assert run(counter, [GENERATION]) == [1]
    redis_alone.freeze()
    with until(time.monotonic() + 0.05):
        assert run(counter, [GENERATION]) is None
    assert not Outages.is_away
    redis_alone.thaw()
    wait_until(lambda: run(Script("return {redis.call('GET', KEYS[1])}"), [GENERATION]) == [b"2"])


def test_a_dead_redis_is_asked_only_by_calls_that_insist(redis_alone: Daemon) -> None:
    redis_alone.kill()
    assert run(ONE, []) is None
    assert commands(insists=False) == 0
    redis_alone.start()
    assert run(ONE, [], insists=True) == [1]
    wait_until(lambda: run(ONE, []) == [1])


def test_a_redis_that_refuses_writes_stays_away(redis_alone: Daemon) -> None:
    with redis.Redis.from_url(redis_alone.url) as client:
        client.replicaof("127.0.0.1", 1)
        assert run(FORGET, [GENERATION]) is None
        time.sleep(0.5)  # for some probes
        assert commands(insists=False) == 0
        client.replicaof("NO", "ONE")
    wait_until(lambda: run(ONE, []) == [1])


def test_a_waiting_thread_is_released_when_silence_is_found(redis_alone: Daemon, settings: Settings) -> None:
    options = settings.CACHES["default"]["OPTIONS"] | {"SOCKET_TIMEOUT": 60}
    settings.CACHES = {"default": settings.CACHES["default"] | {"OPTIONS": options}}
    assert run(ONE, []) == [1]  # a connection to wait on
    redis_alone.freeze()
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(run(ONE, [])))
    waiting.start()
    time.sleep(0.3)  # until it waits
    Outages.note(redis.TimeoutError("found by another thread"))
    waiting.join(20)
    redis_alone.thaw()
    assert answers == [None]


def test_an_answer_that_came_while_the_process_stood_still_counts(redis_alone: Daemon) -> None:
    with Proxy(urlsplit(redis_alone.url).port or 0) as proxy:
        changed = {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0", "REDIS_TIMEOUT_SECONDS": "1"}
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


# The event loop


@contextlib.asynccontextmanager
async def connected(server: Daemon) -> Any:
    found = Pipeline(server.url, [ADMIT], (FORGET, [GENERATION]))
    try:
        yield found
    finally:
        assert found._keeping
        found._keeping.cancel()
        if found._connection:
            found._connection.lose(RedisAwayError("the test has ended"))


def looped(server: Daemon, work: Callable[[Pipeline], Awaitable[None]]) -> None:
    async def go() -> None:
        async with connected(server) as found:
            await work(found)

    asyncio.run(go())


async def until_it_answers(redis: Pipeline) -> None:
    async with asyncio.timeout(30):
        while await is_away(redis):
            await asyncio.sleep(0.02)


async def is_away(redis: Pipeline) -> bool:
    try:
        return bool(await redis.run(ONE, [], []) != [1])
    except RedisAwayError:
        return True


def test_after_one_timeout_no_request_waits_for_a_hung_redis(redis_alone: Daemon) -> None:
    async def work(found: Pipeline) -> None:
        await until_it_answers(found)
        redis_alone.freeze()
        began = time.monotonic()
        assert all(await asyncio.gather(*(is_away(found) for _ in range(CALLS))))
        for _ in range(CALLS):
            assert await is_away(found)
        assert time.monotonic() - began < MUCH_LESS_SECONDS
        redis_alone.thaw()
        await until_it_answers(found)

    looped(redis_alone, work)


def test_a_process_that_starts_beside_a_hung_redis_waits_once(redis_alone: Daemon) -> None:
    async def work(found: Pipeline) -> None:
        redis_alone.freeze()
        began = time.monotonic()
        for _ in range(CALLS):
            assert await is_away(found)
        assert time.monotonic() - began < MUCH_LESS_SECONDS
        redis_alone.thaw()
        await until_it_answers(found)

    looped(redis_alone, work)


def test_silence_that_a_thread_has_found_spares_the_event_loop(
    redis_alone: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farmlokal.redis.client.PAUSE_SECONDS", 3)

    async def work(found: Pipeline) -> None:
        await until_it_answers(found)
        Outages.note(redis.TimeoutError("found by a thread"))
        assert await is_away(found)
        await until_it_answers(found)

    looped(redis_alone, work)


def test_a_stalled_event_loop_is_not_a_silent_redis(redis_alone: Daemon) -> None:
    async def work(found: Pipeline) -> None:
        await until_it_answers(found)
        asked = asyncio.ensure_future(found.run(ONE, [], []))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is sent
        time.sleep(3 * settings.REDIS_TIMEOUT_SECONDS)
        assert await asked == [1]
        assert not Outages.is_away

    looped(redis_alone, work)


def test_a_short_silence_ends_no_state(redis_alone: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a new connection may find a Redis that has missed writes."""
    monkeypatch.setattr(async_client, "PATIENCE_SECONDS", 60)

    async def work(found: Pipeline) -> None:
        await until_it_answers(found)
        with redis.Redis.from_url(redis_alone.url) as client:
            client.set(GENERATION, "1")
            redis_alone.freeze()
            assert await is_away(found)
            redis_alone.thaw()
            await until_it_answers(found)
            assert client.get(GENERATION) == b"1"

    looped(redis_alone, work)


def test_a_long_silence_costs_the_connection_and_the_state(redis_alone: Daemon) -> None:
    async def work(found: Pipeline) -> None:
        await until_it_answers(found)
        first = found._connection
        with redis.Redis.from_url(redis_alone.url) as client:
            client.set(GENERATION, "1")
            redis_alone.freeze()
            async with asyncio.timeout(30):
                while found._connection is first:
                    assert await is_away(found)
                    await asyncio.sleep(0.02)
            redis_alone.thaw()
            await until_it_answers(found)
            assert client.get(GENERATION) is None

    looped(redis_alone, work)
