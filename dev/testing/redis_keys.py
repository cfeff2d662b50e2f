"""The tests' Redis, and the keys in it that belong to this process: those under REDIS_KEY_PREFIX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from redis import Redis
from redis.cluster import RedisCluster
from redis.sentinel import Sentinel

from farmlokal.redis.url import Servers, read


@contextmanager
def shared_redis() -> Iterator[Any]:
    """A client of redis-py for the servers of REDIS_URL."""
    with _connected(read(settings.REDIS_URL)) as client:
        yield client


def _connected(servers: Servers) -> Any:
    if servers.kind == "cluster":
        return RedisCluster.from_url(servers.url_of(servers.hosts[0]))
    if servers.kind == "sentinel":
        sentinel: Any = Sentinel
        return sentinel(servers.hosts).master_for(servers.service)
    return Redis.from_url(servers.url)


def own_keys(client: Any, part: str = "") -> list[bytes]:
    """The names of this process's keys that contain this part."""
    prefix = settings.CACHES["default"]["KEY_PREFIX"].removesuffix("}")
    return list(client.scan_iter(f"{prefix}[.}}]*{part}*", count=1000))  # all hash tags with this prefix


def forget_keys() -> None:
    """Delete this process's keys, as if Redis had lost all data."""
    with shared_redis() as client, client.pipeline(transaction=False) as pipeline:
        for name in own_keys(client):
            pipeline.delete(name)
        pipeline.execute()
