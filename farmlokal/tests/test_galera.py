"""A Galera cluster: two instances of the service, each on a node of its own, with one Redis."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from dev.testing.galera import Galera, galera
from dev.testing.servers import Answer, Server, own_redis, running
from dev.testing.waiting import wait_until

ROWS = 200
CHANGES = int(os.environ.get("GALERA_CHANGES", "10"))
BULK_TABLE = """
    CREATE TABLE farmlokal.bulk (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL);
    INSERT INTO farmlokal.bulk (v)
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) SELECT 0 FROM n, n AS m
"""  # 40,000 rows
STAFF = """
import django, json
django.setup()
from dev.testing.staff import make_staff, session_headers
print(json.dumps(session_headers(make_staff())))
"""


class World(NamedTuple):
    cluster: Galera
    servers: list[Server]
    session: dict[str, str]

    def patch(self, server: Server, pk: int, **members: Any) -> Answer:
        body = json.dumps(members).encode()
        head = [f"PATCH /products/{pk} HTTP/1.1", "Host: localhost", "Connection: close"]
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in self.session.items()]
        return server.raw("\r\n".join([*head, "", ""]).encode() + body)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        cluster = enter(galera(tmp_path_factory.mktemp("galera"), 2))
        own = enter(own_redis(tmp_path_factory.mktemp("redis")))
        environment = {
            **os.environ,
            "DATABASE_URL": cluster.nodes[0].url,
            "REDIS_URL": own.url,
            "REDIS_TIMEOUT_SECONDS": "1",
            "ALLOWED_HOSTS": "localhost",
            "WEB_CONCURRENCY": "1",
            "DJANGO_SETTINGS_MODULE": "farmlokal.settings",
        }
        for arguments in (["migrate", "-v0"], ["seed_products", str(ROWS)]):
            subprocess.run([sys.executable, "manage.py", *arguments], env=environment, check=True, capture_output=True)
        staff = subprocess.run([sys.executable, "-c", STAFF], env=environment, check=True, stdout=subprocess.PIPE)
        servers = [enter(running(environment, DATABASE_URL=node.url)) for node in cluster.nodes]
        yield World(cluster, servers, json.loads(staff.stdout))


def test_page_beside_a_bulk_update_has_the_write_before_it(world: World) -> None:
    """The other node applies the bulk update first, and the later write after it."""
    node, (first, second) = world.cluster.nodes[0], world.servers
    world.cluster.sql(node, BULK_TABLE)
    old = []
    for number in range(CHANGES):
        world.cluster.sql(node, "UPDATE farmlokal.bulk SET v = v + 1")
        assert world.patch(first, 1, stock=number).status == 200
        answer = second.request("/products/1")
        if answer.json.get("stock") != number:
            old.append((number, answer.status, answer.headers.get("x-cache")))
    assert old == []


def test_conflict_of_two_nodes_is_retried(world: World) -> None:
    """Both change the same row, each on its node, so one of the commits is refused."""

    def conflicts() -> int:
        return sum(int(world.cluster.status(node)["wsrep_local_cert_failures"]) for node in world.cluster.nodes)

    before = conflicts()

    def is_refused() -> bool:
        with ThreadPoolExecutor(2) as callers:
            both = callers.map(lambda server: world.patch(server, 2, stock=next(stocks)), world.servers)
            assert [answer.status for answer in both] == [200, 200]
        return conflicts() > before

    stocks = itertools.count(1)
    wait_until(is_refused)
    for server in world.servers:  # the refused commit is not one that may still happen
        assert server.request("/products/2").headers["x-cache"] != "bypass"
