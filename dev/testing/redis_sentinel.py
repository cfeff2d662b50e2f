"""A Redis master and its replica, and three Sentinels that make the replica the master if the master dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from dev.testing.redis_nodes import ask, node
from dev.testing.servers import Daemon, steady_ports
from dev.testing.waiting import wait_until

NAME = "farm"
CONFIGURATION = """
repl-diskless-sync-delay 0
save ""
appendonly yes
"""


class RedisSentinel(NamedTuple):
    master: Daemon  # at the start; after a failover this is the replica
    replica: Daemon
    sentinels: Sequence[Daemon]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(urlsplit(each.url).netloc for each in self.sentinels)}/{NAME}/0"

    def current_master(self) -> Daemon:
        """The master in the view of the first Sentinel."""
        _, port = ask(self.sentinels[0], "SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)
        return next(each for each in (self.master, self.replica) if urlsplit(each.url).port == int(port))

    def is_whole(self) -> bool:
        """Whether each Sentinel sees the others, and a replica that follows the master."""
        try:
            return all(map(_sees_all, self.sentinels))
        except RedisError:
            return False


def _sees_all(sentinel: Daemon) -> bool:
    others = ask(sentinel, "SENTINEL SENTINELS", NAME)
    replicas = [dict(zip(each[::2], each[1::2], strict=True)) for each in ask(sentinel, "SENTINEL REPLICAS", NAME)]
    return len(others) == 2 and [each["master-link-status"] for each in replicas] == ["ok"]


@contextmanager
def redis_sentinel(folder: Path, *options: str) -> Iterator[RedisSentinel]:
    """Run all five; options go to both redis-servers. A failover takes 2 to 4 s."""
    ports = steady_ports(5)
    master = node(folder / "first", ports[0], CONFIGURATION, *options)
    replica = node(folder / "second", ports[1], f"{CONFIGURATION}replicaof 127.0.0.1 {ports[0]}", *options)
    sentinels = [_sentinel(folder / f"sentinel{port}", port, watched=ports[0]) for port in ports[2:]]
    everything = [master, replica, *sentinels]
    try:
        for each in everything:
            each.start()
        group = RedisSentinel(master, replica, sentinels)
        wait_until(group.is_whole)
        yield group
    finally:
        for each in everything:
            each.stop()


def _sentinel(folder: Path, port: int, watched: int) -> Daemon:
    settings = [f"monitor {NAME} 127.0.0.1 {watched} 2"]
    settings += [f"down-after-milliseconds {NAME} 1000", f"failover-timeout {NAME} 6000"]
    return node(folder, port, "\n".join(f"sentinel {setting}" for setting in settings), "--sentinel")
