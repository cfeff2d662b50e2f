"""A Galera cluster of MariaDB nodes, each of which takes writes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import MySQLdb

from dev.testing import mariadb
from dev.testing.servers import Daemon, steady_ports
from dev.testing.waiting import wait_until

PROVIDER = "/usr/lib/galera/libgalera_smm.so"
# Without a binary log, MariaDB 10.11 replicates rows that were rolled back to a savepoint before the first write.
LOG = ["--log-bin=bin", "--log-slave-updates=ON"]
WSREP = ["--binlog-format=ROW", "--default-storage-engine=InnoDB", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON"]


class Galera(NamedTuple):
    nodes: Sequence[Daemon]

    def sql(self, node: Daemon, text: str) -> Sequence[tuple[Any, ...]]:
        """Run statements as root on this node. Returns the rows of the last."""
        return mariadb.sql(node, text)

    def is_synced(self, node: Daemon) -> bool:
        """Whether this node belongs to the cluster's majority, and has applied its writes."""
        return self.status(node).get("wsrep_local_state_comment") == "Synced"

    def status(self, node: Daemon) -> Mapping[str, str]:
        """The node's wsrep_% variables; none if it does not answer."""
        try:
            return dict(mariadb.sql(node, "SHOW GLOBAL STATUS LIKE 'wsrep_%'"))
        except MySQLdb.Error:
            return {}

    def rejoin(self, node: Daemon) -> None:
        """Start a node that was killed, and wait until it has caught up."""
        node.start()
        wait_until(lambda: self.is_synced(node))


@contextmanager
def galera(folder: Path, nodes: int = 3, *options: str) -> Iterator[Galera]:
    """Run so many nodes with an empty database; options go to each mariadbd. A dead node is noticed after 3 s."""
    shutil.move(mariadb.install(folder), folder / "node1" / "data")
    ports = [steady_ports(3) for _ in range(nodes)]
    members = ",".join(f"127.0.0.1:{group}" for _, group, _ in ports)
    cluster = Galera([_node(folder, number, each, members, options) for number, each in enumerate(ports, 1)])
    first, *others = cluster.nodes
    try:
        first.start("--wsrep-new-cluster")
        mariadb.sql(first, mariadb.APPLICATION)
        for node in others:
            cluster.rejoin(node)
        yield cluster
    finally:
        for node in cluster.nodes:
            node.stop()


def _node(folder: Path, number: int, ports: Sequence[int], members: str, options: Sequence[str]) -> Daemon:
    port, group, transfer = ports
    provider = [f"base_port={group}", f"gmcast.listen_addr=tcp://127.0.0.1:{group}", "evs.suspect_timeout=PT3S"]
    provider += [f"ist.recv_addr=127.0.0.1:{transfer}", f"ist.recv_bind=127.0.0.1:{transfer}", "gcache.size=64M"]
    wsrep = [f"--wsrep-provider={PROVIDER}", f"--wsrep-provider-options={';'.join(provider)}"]
    wsrep += [f"--wsrep-cluster-address=gcomm://{members}", "--wsrep-cluster-name=farmlokal"]
    wsrep += [f"--wsrep-node-name=node{number}", "--wsrep-node-address=127.0.0.1", "--wsrep-sst-method=copy"]
    # The last nodes donate: the first ones take the writes, and a donor takes none meanwhile.
    wsrep += [f"--wsrep-node-incoming-address=127.0.0.1:{port}", "--wsrep-sst-donor=node3,node2,"]
    return mariadb.server(folder / f"node{number}", port, *LOG, *WSREP, *wsrep, *options)
