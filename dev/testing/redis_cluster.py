"""A Redis Cluster: masters that share the keys, each with replicas."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from dev.testing.programs import program
from dev.testing.redis_nodes import ask, node
from dev.testing.servers import Daemon, steady_ports
from dev.testing.waiting import wait_until

# What nodes send each other, and what an observer asks.
UNCOUNTED = {"auth", "client", "cluster", "command", "config", "hello", "info", "ping", "psync", "replconf", "role"}
CONFIGURATION = """
cluster-enabled yes
cluster-node-timeout 2000
repl-diskless-sync-delay 0
save ""
appendonly yes
"""


class RedisCluster(NamedTuple):
    nodes: list[Daemon]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(urlsplit(node.url).netloc for node in self.nodes)}"

    def masters(self) -> list[Daemon]:
        """The nodes that are masters now, in the view of the first node that answers."""
        return list(self._slots())

    def owner_of(self, key: str) -> Daemon:
        """The master of this key's slot. Wait for one: in the view of a node, a slot may be between two masters."""
        slot = self._ask("CLUSTER KEYSLOT", key)
        return wait_until(lambda: self._owners(slot))[0]

    def command_counts(self) -> dict[str, int]:
        """What commands_of() counts for each master, by its URL."""
        return {node.url: commands_of(node) for node in self.masters()}

    def is_whole(self) -> bool:
        """Whether all nodes are up and know each other's roles, and each replica has its master's keys."""
        try:
            replicas = len(self.nodes) - len(self.masters())
            return all(_knows_all(node, replicas) and _has_its_keys(node) for node in self.nodes)
        except RedisError:
            return False

    def _owners(self, slot: int) -> list[Daemon]:
        return [node for node, ranges in self._slots().items() if any(slot in each for each in ranges)]

    def _slots(self) -> dict[Daemon, list[range]]:
        by_port = {urlsplit(node.url).port: node for node in self.nodes}
        owned: dict[Daemon, list[range]] = {}
        for first, last, master, *_ in self._ask("CLUSTER SLOTS"):
            owned.setdefault(by_port[master[1]], []).append(range(first, last + 1))
        return owned

    def _ask(self, *command: Any) -> Any:
        for each in self.nodes:
            try:
                return ask(each, *command)
            except RedisError:
                continue
        raise AssertionError("no node of the cluster answers")


def commands_of(node: Daemon) -> int:
    """The commands of clients that this node has run since its start. Scripts count their own too."""
    lines = ask(node, "INFO", "commandstats").splitlines()
    calls = dict(line.removeprefix("cmdstat_").split(":calls=") for line in lines if line.startswith("cmdstat_"))
    return sum(int(rest.split(",")[0]) for name, rest in calls.items() if name.split("|")[0] not in UNCOUNTED)


def _knows_all(node: Daemon, replicas: int) -> bool:
    others = [line.split() for line in ask(node, "CLUSTER NODES").splitlines()]
    connected = [flags for _, _, flags, _, _, _, _, link, *_ in others if link == "connected"]
    return "cluster_state:ok" in ask(node, "CLUSTER INFO") and sum("slave" in flags for flags in connected) == replicas


def _has_its_keys(node: Daemon) -> bool:
    replication = ask(node, "INFO", "replication")
    return "role:master" in replication or "master_link_status:up" in replication


@contextmanager
def redis_cluster(folder: Path, masters: int = 3, replicas: int = 1, *options: str) -> Iterator[RedisCluster]:
    """Run so many masters, each with so many replicas; options go to each redis-server. A failover takes 2 to 4 s."""
    count = masters * (1 + replicas)
    ports = steady_ports(2 * count)
    pairs = list(zip(ports[:count], ports[count:], strict=True))
    cluster = RedisCluster([_node(folder / f"node{port}", port, bus, options) for port, bus in pairs])
    try:
        for each in cluster.nodes:
            each.start()
        _create([f"127.0.0.1:{port}@{bus}" for port, bus in pairs], replicas)
        wait_until(cluster.is_whole)
        yield cluster
    finally:
        for each in cluster.nodes:
            each.stop()


def _node(folder: Path, port: int, bus: int, options: Sequence[str]) -> Daemon:
    return node(folder, port, f"{CONFIGURATION}\ncluster-port {bus}", *options)


def _create(addresses: Sequence[str], replicas: int) -> None:
    command = [program("redis-cli"), "--cluster", "create", *addresses, "--cluster-replicas", str(replicas)]
    done = subprocess.run([*command, "--cluster-yes"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
