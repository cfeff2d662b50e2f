"""Read replicas: which pages they serve, how fresh those are, and what happens without one of the servers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from dev.testing import mariadb
from dev.testing.proxy import Proxy
from dev.testing.replication import Replicated, replicated_mysql
from dev.testing.servers import Answer, Daemon, Server, own_mysql, own_redis, running
from dev.testing.waiting import wait_until

ROWS = 200
LAG_SECONDS = 2
PATCHES = 200
PAGES = 20
STAFF = """
import django, json
django.setup()
from dev.testing.staff import make_staff, session_headers
print(json.dumps(session_headers(make_staff())))
"""
STATEMENTS = """
import json, logging, django
django.setup()
from django.db import connections
from django.test import Client
from farmlokal.observability import request_costs
from products.catalogue_cache import announce_write
for connection in connections.all():
    connection.mysql_server_data  # a statement of each new connection
pages = iter(range(1000))
def cost():
    response = Client(headers={"Host": "localhost"}).get(f"/products?price_max={9000 + next(pages)}")
    return request_costs.current.statements if response["X-Cache"] == "miss" else None
def costs():
    announce_write()
    return [cost() for _ in range(3)]
costs()  # statements of each new process
while None in (found := costs()):  # a busy machine may pass for one without Redis
    pass
print(json.dumps(found))
"""
UNSEEN_WRITE = """
import django
django.setup()
from products import services
from farmlokal.redis.scripts import key
from products.catalogue_cache import announce_write, catalogue_cache
def sequence(position):
    return int(position.rpartition("-")[2])
announce_write()
lookup = catalogue_cache.look_up(key("page", "of nothing"), "owner")
before = catalogue_cache.positions.of("")
services.change(1, stock=7777)
after = catalogue_cache.positions.of(lookup.generation)
noted = catalogue_cache.positions._exchange(lookup.generation)
print("later" if sequence(after) > sequence(before) else "too early", "noted" if noted else "not noted")
"""
TWO_PAGES = """
import django
django.setup()
from django.test import Client
for number in range(2):
    assert Client(headers={"Host": "localhost"}).get(f"/products?price_min={number}").status_code == 200
"""
DOCTOR = """
import json, django
django.setup()
from farmlokal.doctor import mysql
print(json.dumps([[result.name, result.level] for result in mysql.examine()]))
"""
READY = """
import json, django
django.setup()
from django.test import Client
client = Client(headers={"Host": "localhost"})
ready = client.get("/readyz")
metric = [line for line in client.get("/metrics").content.decode().splitlines() if "up{name=\\"mysql\\"}" in line]
print(json.dumps([ready.status_code, ready.json()["status"], ready.json()["checks"], *metric]))
"""

new_page = (f"/products?price_min={number}" for number in itertools.count(1))


class World(NamedTuple):
    mysql: Replicated
    redis: Daemon
    server: Server
    environment: Mapping[str, str]
    session: dict[str, str]

    def patch(self, pk: int, server: Server | None = None, **members: Any) -> Answer:
        body = json.dumps(members).encode()
        head = [f"PATCH /products/{pk} HTTP/1.1", "Host: localhost", "Connection: close"]
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in self.session.items()]
        return (server or self.server).raw("\r\n".join([*head, "", ""]).encode() + body)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        mysql = enter(replicated_mysql(tmp_path_factory.mktemp("mysql")))
        own = enter(own_redis(tmp_path_factory.mktemp("redis")))
        environment = {
            **os.environ,
            "DATABASE_URL": mysql.primary.url,
            "DATABASE_REPLICA_URL": mysql.replica.url,
            "REDIS_URL": own.url,
            "REDIS_TIMEOUT_SECONDS": "1",
            "ALLOWED_HOSTS": "localhost",
        }
        for arguments in (["migrate", "-v0"], ["seed_products", str(ROWS)]):
            subprocess.run([sys.executable, "manage.py", *arguments], env=environment, check=True, capture_output=True)
        session = json.loads(run_python(STAFF, environment))
        yield World(mysql, own, enter(running(environment)), environment, session)


@pytest.fixture(scope="module")
def without_log(database_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The environment of a service whose primary writes no log. Nothing listens at the address of its replica."""
    replica = "mysql://u:p@127.0.0.1:1/farmlokal"
    with own_mysql(tmp_path_factory.mktemp("without_log"), os.environ, 10) as mysql:
        yield {**database_environment, "DATABASE_URL": mysql.url, "DATABASE_REPLICA_URL": replica}


@pytest.fixture(autouse=True)
def _caught_up(world: World) -> None:
    wait_until(world.mysql.has_caught_up)


def run_python(code: str, environment: Mapping[str, str]) -> str:
    settings = {"DJANGO_SETTINGS_MODULE": "farmlokal.settings"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**environment, **settings}, check=True, stdout=subprocess.PIPE).stdout.decode()


def selects(server: Daemon, work: Callable[[], object]) -> int:
    """The number of SELECTs that the server runs meanwhile."""
    statement = "SHOW GLOBAL STATUS LIKE 'Com_select'"
    ((_, before),) = mariadb.sql(server, statement)
    work()
    ((_, after),) = mariadb.sql(server, statement)
    return int(after) - int(before)


def read_new_pages(server: Server) -> None:
    statuses = [server.request(next(new_page)).status for _ in range(PAGES)]
    assert statuses == [200] * PAGES


def reads_from(server: Daemon, service: Server) -> bool:
    return selects(server, lambda: read_new_pages(service)) >= PAGES


def test_pages_come_from_the_replica(world: World) -> None:
    read_new_pages(world.server)
    assert reads_from(world.mysql.replica, world.server)
    assert not reads_from(world.mysql.primary, world.server)


def test_no_page_lacks_a_write_that_the_replica_lacks(world: World) -> None:
    stale = []
    world.mysql.lag(LAG_SECONDS)
    try:
        for number in range(PATCHES):
            assert world.patch(1, stock=number).status == 200
            listed = world.server.request("/products?ids=1").json["results"][0]["stock"]
            detail = world.server.request("/products/1").json["stock"]
            stale += [number] if {listed, detail} != {number} else []
        assert not world.mysql.has_caught_up()
    finally:
        world.mysql.lag(0)
    assert stale == []
    assert world.server.request("/products/1").json["stock"] == PATCHES - 1


def test_replica_takes_two_statements_more_a_generation(world: World) -> None:
    counts = json.loads(run_python(STATEMENTS, world.environment).splitlines()[-1])
    assert counts == [3, 1, 1]


def test_killed_replica_costs_no_page_and_returns(world: World) -> None:
    world.mysql.replica.kill()
    try:
        read_new_pages(world.server)
    finally:
        world.mysql.replica.start()
    wait_until(lambda: reads_from(world.mysql.replica, world.server))


def test_frozen_replica_costs_no_page_and_returns(world: World) -> None:
    read_new_pages(world.server)
    world.mysql.replica.freeze()
    try:
        read_new_pages(world.server)
        wait_until(lambda: reads_from(world.mysql.primary, world.server))
    finally:
        world.mysql.replica.thaw()
    wait_until(lambda: reads_from(world.mysql.replica, world.server))


def test_pages_of_a_known_generation_need_no_primary(world: World) -> None:
    read_new_pages(world.server)
    world.mysql.primary.kill()
    try:
        read_new_pages(world.server)
        assert world.patch(1, stock=1).status == 503
    finally:
        world.mysql.primary.start()
    wait_until(lambda: world.patch(1, stock=1).status == 200)


def test_pages_without_redis_are_as_new_as_the_primary(world: World) -> None:
    world.mysql.lag(LAG_SECONDS)
    world.redis.kill()
    try:
        for number in range(20):
            assert world.patch(1, stock=number).status == 200
            assert world.server.request("/products/1").json["stock"] == number
        wait_until(world.mysql.has_caught_up)
        assert reads_from(world.mysql.replica, world.server)
    finally:
        world.redis.start()
        world.mysql.lag(0)


def test_position_after_an_unseen_write_is_not_noted(world: World) -> None:
    """A writer commits between the lookup of a reader and its question for the position."""
    assert run_python(UNSEEN_WRITE, world.environment) == "later not noted\n"


def test_replicas_of_a_primary_without_a_log_are_not_used(without_log: dict[str, str]) -> None:
    log = run_python(TWO_PAGES, {**without_log, "LOG_LEVEL": "WARNING"})
    assert log.count("replicas_unused") == 1
    assert "replica_failed" not in log


def test_doctor_names_each_replica(world: World) -> None:
    found = doctor(world.environment, DATABASE_REPLICA_URL=f"{world.mysql.replica.url},mysql://u:p@127.0.0.1:1/farm")
    assert found["replica1"] == "ok"
    assert found["replica2"] == "error"


def test_doctor_warns_of_a_primary_without_a_log(without_log: dict[str, str]) -> None:
    assert doctor(without_log)["mysql replicas"] == "warning"


def doctor(environment: Mapping[str, str], **changes: str) -> dict[str, str]:
    """The level of each finding of `manage.py doctor` about MySQL."""
    return dict(json.loads(run_python(DOCTOR, {**environment, **changes}).splitlines()[-1]))


def ready(environment: Mapping[str, str], **changes: str) -> list[Any]:
    """The status, and the checks, of /readyz."""
    return list(json.loads(run_python(READY, {**environment, **changes}).splitlines()[-1]))


def test_read_only_mysql_is_told(world: World) -> None:
    found = ready(world.environment, DATABASE_URL=world.mysql.replica.url, DATABASE_REPLICA_URL="")
    assert found == [
        200,
        "degraded",
        {"mysql": "read-only", "redis": "up"},
        'farmlokal_dependency_up{name="mysql"} 0.0',
    ]


def test_readiness_shows_each_replica(world: World) -> None:
    up = ready(world.environment, DATABASE_REPLICA_URL=f"{world.mysql.replica.url},mysql://u:p@127.0.0.1:1/farm")
    assert up[:3] == [200, "degraded", {"mysql": "up", "redis": "up", "mysql_replica1": "up", "mysql_replica2": "down"}]
    world.mysql.stop_replication()
    try:
        assert world.patch(1, stock=8888).status == 200
        behind = ready(world.environment)
    finally:
        world.mysql.start_replication()
    assert behind[:3] == [200, "ok", {"mysql": "up", "redis": "up", "mysql_replica1": "behind"}]


def test_connections_leave_a_primary_that_became_read_only(world: World) -> None:
    """Its address leads to the new primary, but the old one keeps its connections."""
    with Proxy(world.mysql.replica.url) as address, running(world.environment, DATABASE_URL=address.url) as server:

        def patch_at_once() -> list[int]:
            with ThreadPoolExecutor(8) as callers:
                return [answer.status for answer in callers.map(lambda n: world.patch(n, server, stock=n), range(1, 9))]

        assert patch_at_once() == [503] * 8
        address.lead_to(world.mysql.primary.url)
        wait_until(lambda: patch_at_once() == [200] * 8)
