"""Debian's HAProxy with docs/deploy/haproxy.cfg: one address for a Galera cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from dev.testing.galera import Galera
from dev.testing.programs import program
from dev.testing.servers import Daemon, steady_ports

TEMPLATE = Path(__file__).parents[2] / "docs/deploy/haproxy.cfg"


@contextmanager
def haproxy(folder: Path, cluster: Galera) -> Iterator[Daemon]:
    """Run it from the moment that it has found a healthy node. Its URL leads to the first one."""
    cluster.sql(cluster.nodes[0], "CREATE USER IF NOT EXISTS haproxy@'127.0.0.1'")
    (port,) = steady_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "haproxy.cfg").write_text(_configuration(port, cluster))
    address = urlsplit(cluster.nodes[0].url)
    url = address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{port}").geturl()
    daemon = Daemon(url, [program("haproxy"), "-f", "haproxy.cfg", "-db"], folder, lambda: _answers(port))
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


def _configuration(port: int, cluster: Galera) -> str:
    text = TEMPLATE.read_text().replace("127.0.0.1:3306", f"127.0.0.1:{port}")
    for number, node in enumerate(cluster.nodes, 1):
        text = text.replace(f"10.0.0.{number}:3306", urlsplit(node.url).netloc.rpartition("@")[2])
    return text


def _answers(port: int) -> bool:
    """Whether MariaDB's greeting arrives: HAProxy accepts connections before its first check, and closes them."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False
