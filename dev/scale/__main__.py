"""Run all tests with several servers of each kind: SCALE=replica or SCALE=galera selects one of both groups.

Arguments go to pytest. The exit status is 1 if a test failed with either group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dev.testing.galera import galera
from dev.testing.haproxy import haproxy
from dev.testing.redis_cluster import redis_cluster
from dev.testing.redis_sentinel import redis_sentinel
from dev.testing.replication import replicated_mysql

REDIS = ("--maxmemory", "128mb", "--maxmemory-policy", "volatile-lru")


@contextmanager
def with_replica(folder: Path) -> Iterator[Mapping[str, str]]:
    """A MySQL primary with a replica, and a Redis master with a replica and Sentinels."""
    with replicated_mysql(folder / "mysql") as mysql, redis_sentinel(folder / "redis", *REDIS) as redis:
        yield {"DATABASE_URL": mysql.primary.url, "DATABASE_REPLICA_URL": mysql.replica.url, "REDIS_URL": redis.url}


@contextmanager
def with_galera(folder: Path) -> Iterator[Mapping[str, str]]:
    """A Galera cluster behind HAProxy, and a Redis Cluster of three masters with a replica each."""
    with (
        galera(folder / "mysql") as cluster,
        haproxy(folder / "haproxy", cluster) as address,
        redis_cluster(folder / "redis", 3, 1, *REDIS) as redis,
    ):
        yield {
            "DATABASE_URL": address.url,
            "REDIS_URL": redis.url,
            "REDIS_HASH_TAGS": "3",
            "GALERA_CHANGES": "200",  # of test_galera.py
        }


GROUPS = {"replica": with_replica, "galera": with_galera}


def main(group: str, arguments: list[str]) -> int:
    """Return the exit status: 1 if tests of any group fail."""
    names = [group] if group else list(GROUPS)
    return max(_tested(name, arguments) for name in names)


def _tested(name: str, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="farmlokal-") as folder, GROUPS[name](Path(folder)) as urls:
        print(f"make test-scale: {name}", file=sys.stderr)
        return subprocess.run(["pytest", *arguments], env={**os.environ, **urls}, check=False).returncode


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = os.environ.get("SCALE", "")
    if wanted and wanted not in GROUPS:
        sys.exit(f"make test-scale: SCALE must be {' or '.join(GROUPS)}")
    sys.exit(main(wanted, sys.argv[1:]))
