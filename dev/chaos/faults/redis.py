"""Redis is away, slow, full, read-only or emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from dev.chaos.faults import harm
from dev.chaos.world import World
from dev.testing.repeating import repeating

SLOWNESS = 2  # a slow Redis answers after so many of our timeouts


def killed(world: World) -> AbstractContextManager[None]:
    return harm.dead(world.redis, world.redis_proxy)


def frozen(world: World) -> AbstractContextManager[None]:
    return harm.frozen(world.redis)


def slow(world: World) -> AbstractContextManager[None]:
    timeout = float(world.pace.settings.get("REDIS_TIMEOUT_SECONDS", "0.2"))
    return harm.behaving(world.redis_proxy, "slow", SLOWNESS * timeout)


def unreachable(world: World) -> AbstractContextManager[None]:
    return harm.behaving(world.redis_proxy, "blackhole")


@contextmanager
def full(world: World) -> Iterator[None]:
    world.ask_redis("CONFIG", "SET", "maxmemory-policy", "noeviction")
    world.ask_redis("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        world.ask_redis("CONFIG", "SET", "maxmemory", 0)


@contextmanager
def read_only(world: World) -> Iterator[None]:
    world.ask_redis("REPLICAOF", "127.0.0.1", 1)
    try:
        yield
    finally:
        world.ask_redis("REPLICAOF", "NO", "ONE")


def flushed(world: World) -> AbstractContextManager[None]:
    return repeating(lambda: world.ask_redis("FLUSHALL"), harm.REPEAT_SECONDS)
