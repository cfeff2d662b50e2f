"""Groups of servers that tests start: each replicates, survives the death of a server, and ends with its test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import MySQLdb
import pytest

from dev.testing import mariadb
from dev.testing.checkouts import processes
from dev.testing.galera import galera
from dev.testing.haproxy import haproxy
from dev.testing.redis_cluster import redis_cluster
from dev.testing.redis_nodes import ask, write_to_replica
from dev.testing.redis_sentinel import redis_sentinel
from dev.testing.replication import replicated_mysql
from dev.testing.servers import Daemon
from dev.testing.waiting import wait_until

# Galera without a binary log replicates the first INSERT, and then the node that lacks it leaves the cluster.
UNDONE = """
    BEGIN; SELECT * FROM farmlokal.t FOR UPDATE; SAVEPOINT s; INSERT INTO farmlokal.t VALUES (1);
    ROLLBACK TO SAVEPOINT s; INSERT INTO farmlokal.t VALUES (2); COMMIT
"""


def test_replica_is_read_only_and_applies_the_primarys_writes(tmp_path: Path) -> None:
    with replicated_mysql(tmp_path) as servers:
        servers.stop_replication()
        mariadb.sql(servers.primary, "CREATE TABLE farmlokal.t (a INT); INSERT INTO farmlokal.t VALUES (1)")
        assert not servers.has_caught_up()
        with pytest.raises(MySQLdb.OperationalError, match="read-only"):
            _as_application(servers.replica, "CREATE TABLE farmlokal.other (a INT)")
        servers.lag(1)  # starts it again
        wait_until(servers.has_caught_up)
        assert mariadb.sql(servers.replica, "SELECT a FROM farmlokal.t") == ((1,),)
    assert processes(tmp_path) == []


def test_sentinel_makes_the_replica_the_master(tmp_path: Path) -> None:
    with redis_sentinel(tmp_path) as servers:
        write_to_replica(servers.master, "k", "v")
        servers.master.kill()
        wait_until(lambda: servers.current_master() is servers.replica)
        assert ask(servers.replica, "GET", "k") == "v"
    assert processes(tmp_path) == []


def test_cluster_replaces_a_dead_master(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as cluster:
        owner = cluster.owner_of("k")
        write_to_replica(owner, "k", "v")
        assert sum(cluster.command_counts().values()) == 2  # SET and WAIT
        owner.kill()
        wait_until(lambda: cluster.owner_of("k") is not owner)
        assert ask(cluster.owner_of("k"), "GET", "k") == "v"
        owner.start()
        wait_until(cluster.is_whole)
    assert processes(tmp_path) == []


def test_haproxy_leaves_a_galera_node_that_is_dead_or_alone(tmp_path: Path) -> None:
    with galera(tmp_path) as cluster, haproxy(tmp_path, cluster) as address:
        first, second, third = cluster.nodes
        _as_application(address, "CREATE TABLE farmlokal.t (a INT PRIMARY KEY)")
        cluster.sql(first, UNDONE)
        first.kill()
        wait_until(lambda: _node_behind(address) == _port(second))
        _as_application(address, "INSERT INTO farmlokal.t VALUES (3)")
        cluster.rejoin(first)
        wait_until(lambda: _node_behind(address) == _port(first))
        assert cluster.sql(first, "SELECT a FROM farmlokal.t") == ((2,), (3,))
        second.kill()
        third.kill()
        wait_until(lambda: _node_behind(address) is None)  # the first is alive, but has no majority
    assert processes(tmp_path) == []


def test_doctor_refuses_galera_without_a_binary_log(tmp_path: Path) -> None:
    with galera(tmp_path, 1, "--skip-log-bin") as cluster:
        command = [sys.executable, "manage.py", "doctor"]
        environment = {**os.environ, "DATABASE_URL": cluster.nodes[0].url}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "Galera without a binary log" in done.stdout


def _port(server: Daemon) -> int | None:
    return urlsplit(server.url).port


def _node_behind(address: Daemon) -> int | None:
    """The port of the node that a new connection reaches; None if HAProxy refuses it."""
    try:
        return int(_as_application(address, "SELECT @@port")[0][0])
    except MySQLdb.OperationalError:
        return None


def _as_application(server: Daemon, statement: str) -> tuple[tuple[int, ...], ...]:
    url = urlsplit(server.url)
    connection = MySQLdb.connect(
        host=url.hostname, port=url.port, user=url.username, password=url.password, autocommit=True, connect_timeout=5
    )
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        rows: tuple[tuple[int, ...], ...] = cursor.fetchall()
        return rows
    finally:
        connection.close()
