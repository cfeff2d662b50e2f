"""Faults of MySQL and Redis together."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dev.chaos.faults import harm, mysql, redis
from dev.chaos.world import World


@contextmanager
def both_killed(world: World) -> Iterator[None]:
    with mysql.killed(world), redis.killed(world):
        yield


@contextmanager
def redis_restored(world: World) -> Iterator[None]:
    """It dies, and comes back with its data from before some writes. MySQL is read-only, so no write tells it so."""
    data, copy = world.redis.folder / "appendonlydir", world.redis.folder / "copy"
    with mysql.read_only(world):
        time.sleep(harm.REPEAT_SECONDS)  # until all pages are cached
        with harm.frozen(world.redis):
            shutil.copytree(data, copy)
    time.sleep(world.pace.fault)  # writes that the copy lacks
    with mysql.read_only(world):
        with harm.dead(world.redis, world.redis_proxy):
            shutil.rmtree(data)
            copy.rename(data)
            time.sleep(harm.REPEAT_SECONDS)
        yield
