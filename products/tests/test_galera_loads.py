"""Loads on a Galera cluster: they stop no writer, and only one runs at a time on all nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dev.testing import mysql
from dev.testing.galera import Galera, galera
from dev.testing.servers import Daemon
from dev.testing.waiting import wait_until
from products.seeding.lease import Lease

KEYS = "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics WHERE table_name = 'products_product'"
LEASE = "farmlokal.products_loadlease"
LEFTOVERS = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE 'products\\\\_%\\\\_\\\\_%'"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Galera]:
    with galera(tmp_path_factory.mktemp("galera"), 3, "--wsrep-max-ws-rows=15000") as started:
        manage(started.nodes[0], "migrate", "-v0").check_returncode()
        yield started


def command(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


def manage(node: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DATABASE_URL": node.url}
    return subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, check=False)


def value(cluster: Galera, node: Daemon, sql: str) -> Any:
    return cluster.sql(node, f"SET SESSION wsrep_sync_wait = 1; {sql}")[0][0]


def test_rows_come_in_short_transactions_after_the_keys(cluster: Galera) -> None:
    """Adding keys to rows would stop all writes of the cluster, and so would a long transaction."""
    node, other, _ = cluster.nodes
    keys = value(cluster, other, KEYS)
    cluster.sql(node, "SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON")
    assert manage(node, "seed_products", "3000").returncode == 0
    cluster.sql(node, "SET GLOBAL general_log = OFF")
    log = "FROM mysql.general_log WHERE command_type = 'Query' AND argument"
    loads = [at for (at,) in cluster.sql(node, f"SELECT event_time {log} LIKE 'LOAD DATA%products\\\\_product%'")]
    alters = [at for (at,) in cluster.sql(node, f"SELECT event_time {log} LIKE 'ALTER TABLE%'")]
    assert len(loads) > 3
    assert max(alters) < min(loads)
    assert value(cluster, other, KEYS) == keys
    assert value(cluster, other, "SELECT COUNT(*) FROM farmlokal.products_product") == 3000
    assert manage(node, "seed_products", "100", "--append").returncode == 0


def test_one_load_runs_on_all_nodes_and_a_killed_one_makes_room(cluster: Galera) -> None:
    node, other, _ = cluster.nodes
    environment = os.environ | {"DATABASE_URL": node.url}
    with subprocess.Popen(command("seed_products", "10000000", "--reset"), env=environment) as load:
        try:
            wait_until(lambda: value(cluster, other, LEFTOVERS) > 3)
            refused = manage(other, "seed_products", "10", "--reset")
        finally:
            load.kill()
    assert refused.returncode == 1
    assert "another load is running: process" in refused.stderr
    assert refused.stderr.count("\n") == 1
    cluster.sql(node, f"UPDATE {LEASE} SET ends_at = ends_at - INTERVAL 30 SECOND")
    assert manage(other, "seed_products", "10", "--reset").returncode == 0
    assert value(cluster, node, LEFTOVERS) == 0
    assert value(cluster, node, "SELECT COUNT(*) FROM farmlokal.products_product") == 10


def test_lease_goes_to_one_of_two_nodes_that_ask_at_once(cluster: Galera) -> None:
    connections = [mysql.connect(node.url) for node in cluster.nodes[:2]]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            value(cluster, cluster.nodes[1], f"UPDATE {LEASE} SET ends_at = '2026-01-01'; SELECT 1")
            assert sum(threads.map(lambda raw: Lease()._take(raw), connections)) == 1
