"""The clock of a machine is set, or its disk is full."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from dev.chaos.clock import Clock
from dev.chaos.world import HOUR, World


@contextmanager
def _stepped(clock: Clock, seconds: int, least: float = 0) -> Iterator[None]:
    clock.step(seconds)
    try:
        time.sleep(least)
        yield
    finally:
        clock.step(0)


def clock_ahead(world: World) -> AbstractContextManager[None]:
    return _stepped(world.clock, HOUR)


def clock_back(world: World) -> AbstractContextManager[None]:
    """For as long as a worker that does not show its master that it runs would live."""
    return _stepped(world.clock, -HOUR, world.pace.replace)


def redis_clock_ahead(world: World) -> AbstractContextManager[None]:
    return _stepped(world.redis_clock, HOUR)


def redis_clock_back(world: World) -> AbstractContextManager[None]:
    return _stepped(world.redis_clock, -HOUR)


@contextmanager
def log_full(world: World) -> Iterator[None]:
    """The service's processes can write to no file, as on a full disk."""
    _limit_files(world, 0)
    try:
        yield
    finally:
        _limit_files(world, resource.RLIM_INFINITY)


def _limit_files(world: World, size: int) -> None:
    for pid in [world.server.process.pid, *world.server.workers]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
