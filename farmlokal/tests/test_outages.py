"""Many callers at once, new processes and probes while MySQL is away. test_faults.py has the effects of single faults.

Servers and processes are real. Whatever takes time is waited for; bounds on time are such that only a service that
waits for the broken server at each request exceeds them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import redis

from dev.testing.mysql import as_root, query
from dev.testing.proxy import Proxy
from dev.testing.servers import Answer, Daemon, Server, own_mysql, own_redis, running
from dev.testing.waiting import wait_until
from farmlokal import health
from products.catalogue_cache import catalogue_cache

HOT = ["/products", "/products?category=fruits"]
ROWS = 2000
REDIS_TIMEOUT_SECONDS = 1  # the most that is allowed: a busy machine must not pass for a silent Redis
MANY = 100  # callers at once: three times as many as there are threads
MAX_REFUSAL_SECONDS = 5  # if each thread waited for each of its callers, the last one would be refused after 9 s

new_page = (f"/products?price_min={number}" for number in itertools.count(1))


class World(NamedTuple):
    """A service that is connected to both servers, and another that reaches them through proxies."""

    mysql: Daemon
    redis: Daemon
    direct: Server
    proxied: Server
    mysql_proxy: Proxy
    redis_proxy: Proxy
    environment: dict[str, str]

    def ask_redis(self, *command: str | int) -> object:
        with redis.Redis.from_url(self.redis.url) as client:
            return client.execute_command(*command)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        mysql = enter(own_mysql(tmp_path_factory.mktemp("mysql"), os.environ, ROWS))
        own = enter(own_redis(tmp_path_factory.mktemp("redis")))
        environment = {
            **os.environ,
            "DATABASE_URL": mysql.url,
            "DATABASE_REPLICA_URL": "",
            "REDIS_URL": own.url,
            "REDIS_TIMEOUT_SECONDS": str(REDIS_TIMEOUT_SECONDS),
            "RATE_LIMIT_ANONYMOUS": "off",
            "ALLOWED_HOSTS": "localhost",
        }
        mysql_proxy, redis_proxy = enter(Proxy(mysql.url)), enter(Proxy(own.url))
        through = {"DATABASE_URL": mysql_proxy.url, "REDIS_URL": redis_proxy.url}
        direct, proxied = enter(running(environment)), enter(running(environment, **through))
        yield World(mysql, own, direct, proxied, mysql_proxy, redis_proxy, environment)


def serves(server: Server, x_cache: str) -> bool:
    """Each process serves hot pages like that, as far as 16 calls can tell."""
    return all(server.request(path).headers.get("x-cache") == x_cache for path in HOT * 8)


def check_new_pages(server: Server) -> None:
    """Each process makes pages that it does not hold."""
    wait_until(lambda: all(server.request(next(new_page)).status == 200 for _ in range(16)))


def test_redis_50_ms_away_serves_hits(world: World) -> None:
    world.redis_proxy.behave("slow", 0.05)
    try:
        wait_until(lambda: serves(world.proxied, "hit"))
    finally:
        world.redis_proxy.behave("pass")


class Timed(NamedTuple):
    answer: Answer
    seconds: float


def call(server: Server, path: str) -> Timed:
    start = time.monotonic()
    answer = server.request(path)
    return Timed(answer, time.monotonic() - start)


def call_at_once(server: Server, paths: list[str]) -> list[Timed]:
    with ThreadPoolExecutor(len(paths)) as callers:
        return list(callers.map(lambda path: call(server, path), paths))


def new_pages(number: int) -> list[str]:
    return list(itertools.islice(new_page, number))


def let_checks_expire() -> None:
    """The service keeps the result of /readyz for a second, by its own clock."""
    time.sleep(health.CHECK_LIFETIME_SECONDS)


def test_readyz_tells_a_read_only_mysql(world: World) -> None:
    with as_root(world.mysql.folder) as root:
        query(root, "SET GLOBAL read_only = 1")
        try:
            assert world.direct.request(next(new_page)).status == 200
            let_checks_expire()
            ready = world.direct.request("/readyz")
        finally:
            query(root, "SET GLOBAL read_only = 0")
    assert ready.status == 200
    assert ready.json["status"] == "degraded"
    assert ready.json["checks"] == {"mysql": "read-only", "redis": "up"}


def test_readyz_costs_one_connection_a_second_and_process(world: World) -> None:
    def connections() -> int:
        with as_root(world.mysql.folder) as root:
            ((_, number),) = query(root, "SHOW GLOBAL STATUS LIKE 'Connections'")
            return int(number)

    before, start = connections(), time.monotonic()
    assert {answer.status for answer, _ in call_at_once(world.direct, ["/readyz"] * 300)} == {200}
    seconds = time.monotonic() - start
    processes = 2
    assert connections() - before <= processes * (seconds / health.CHECK_LIFETIME_SECONDS + 1) + 1


def test_livez_does_not_wait_for_readyz(world: World) -> None:
    """With MySQL frozen a check takes a second, and here all threads for checks wait for one."""
    let_checks_expire()
    world.mysql.freeze()
    start = time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(world.direct.connect()) for _ in range(20)]
            for connection in waiting:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert {world.direct.request("/livez").status for _ in range(4)} == {200}
            answered, _, _ = select.select(waiting, [], [], 0)
    finally:
        world.mysql.thaw()
    is_slow_machine = time.monotonic() - start > health.CHECK_TIMEOUT_SECONDS
    assert not answered or is_slow_machine


def check_refused(calls: list[Timed]) -> None:
    for answer, _ in calls:
        assert answer.status == 503, answer
        assert answer.json["code"] == "database-unavailable"
        assert int(answer.headers["retry-after"]) > 0
    assert max(seconds for _, seconds in calls) < MAX_REFUSAL_SECONDS


def check_stale(calls: list[Timed]) -> None:
    assert {(answer.status, answer.headers.get("x-cache")) for answer, _ in calls} == {(200, "stale")}
    assert max(seconds for _, seconds in calls) < MAX_REFUSAL_SECONDS


def outage(world: World, kind: str) -> tuple[Server, Callable[[], object], Callable[[], object]]:
    """Return a service, and what begins and ends its outage of MySQL."""
    change = world.mysql_proxy.behave
    return {
        "killed": (world.direct, world.mysql.kill, world.mysql.start),
        "frozen": (world.direct, world.mysql.freeze, world.mysql.thaw),
        "refusing": (world.proxied, lambda: change("refuse"), lambda: change("pass")),
        "blackhole": (world.proxied, lambda: change("blackhole"), lambda: change("pass")),
    }[kind]


@pytest.mark.parametrize("kind", ["killed", "frozen", "refusing", "blackhole"])
def test_without_mysql_pages_are_stale_or_refused(world: World, kind: str) -> None:
    server, begin, end = outage(world, kind)
    wait_until(lambda: serves(server, "hit"))
    call_at_once(server, new_pages(40))  # opens the connections of its threads
    world.ask_redis("DEL", catalogue_cache.generation_key)  # as a write does
    begin()
    try:
        check_refused(call_at_once(server, new_pages(MANY)))
        check_refused(call_at_once(server, new_pages(20)))
        check_stale(call_at_once(server, HOT * 5))
        assert server.request("/livez").status == 200
        let_checks_expire()
        assert server.request("/readyz").status == 503
    finally:
        end()
    check_new_pages(server)


def test_new_process_refuses_while_mysql_is_frozen(world: World) -> None:
    wait_until(lambda: serves(world.direct, "hit"))
    with running(world.environment) as server:
        world.mysql.freeze()
        try:
            check_refused(call_at_once(server, new_pages(MANY)))
            answers = [answer for answer, _ in call_at_once(server, ["/products"] * 10)]
            assert {answer.status for answer in answers} == {200}
            results = {answer.headers["x-cache"] for answer in answers}
            assert results <= {"hit", "stale"}  # stale if the page is older than its fresh time
        finally:
            world.mysql.thaw()
        check_new_pages(server)
