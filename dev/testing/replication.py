"""A MariaDB primary with a read-only replica."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from dev.testing import mariadb
from dev.testing.servers import Daemon, steady_ports
from dev.testing.waiting import wait_until

BINLOG = ["--log-bin=bin", "--binlog-format=ROW", "--gtid-strict-mode=ON", "--log-slave-updates=ON"]


class Replicated(NamedTuple):
    primary: Daemon
    replica: Daemon

    def lag(self, seconds: int) -> None:
        """From now on, the replica applies each transaction so many seconds late."""
        mariadb.sql(self.replica, f"STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = {seconds}; START SLAVE")

    def stop_replication(self) -> None:
        mariadb.sql(self.replica, "STOP SLAVE")

    def start_replication(self) -> None:
        mariadb.sql(self.replica, "START SLAVE")

    def has_caught_up(self) -> bool:
        """Whether the replica has applied all that the primary has committed until now."""
        committed = mariadb.sql(self.primary, "SELECT @@gtid_binlog_pos")
        return committed == mariadb.sql(self.replica, "SELECT @@gtid_slave_pos")


@contextmanager
def replicated_mysql(folder: Path, *options: str) -> Iterator[Replicated]:
    """Run both servers with empty databases; options go to both. A replica looks for its primary once a second."""
    data = mariadb.install(folder)
    shutil.copytree(data, folder / "primary" / "data")
    shutil.move(data, folder / "replica" / "data")
    ports = steady_ports(2)
    primary = mariadb.server(folder / "primary", ports[0], *BINLOG, "--server-id=1", *options)
    replica = mariadb.server(folder / "replica", ports[1], *BINLOG, "--server-id=2", "--read-only=ON", *options)
    try:
        primary.start()
        replica.start()
        yield _joined(Replicated(primary, replica))
    finally:
        replica.stop()
        primary.stop()


def _joined(servers: Replicated) -> Replicated:
    mariadb.sql(
        servers.replica,
        f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {urlsplit(servers.primary.url).port},"
        " MASTER_USER = 'root', MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos; START SLAVE",
    )
    mariadb.sql(servers.primary, mariadb.APPLICATION)
    wait_until(servers.has_caught_up)
    return servers
