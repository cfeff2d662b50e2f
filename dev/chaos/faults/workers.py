"""Workers of the service are killed, or their event loops blocked."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.chaos.world import WORKERS, World
from dev.testing.waiting import wait_until


def ports_of(pid: int, server_port: int) -> set[int]:
    """The callers' ports of all connections that this worker has."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]": line for line in lines if line[1].endswith(f":{server_port:04X}")}
    opened = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]
    return {int(sockets[name][2].split(":")[1], 16) for name in opened if name in sockets}


def _harm(world: World, workers: int, number: signal.Signals) -> list[int]:
    pids = world.server.workers[:workers]
    for pid in pids:
        world.victims |= ports_of(pid, world.server.port)
        os.kill(pid, number)
    return pids


@contextmanager
def killed(world: World) -> Iterator[None]:
    _harm(world, 1, signal.SIGKILL)
    yield


@contextmanager
def killed_without_metrics(world: World) -> Iterator[None]:
    """The system has deleted the folder of the metrics among old temporary files."""
    shutil.rmtree(world.metrics)
    with killed(world):
        yield


@contextmanager
def all_killed(world: World) -> Iterator[None]:
    _harm(world, WORKERS, signal.SIGKILL)
    yield


@contextmanager
def blocked(world: World) -> Iterator[None]:
    (pid,) = _harm(world, 1, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def hung(world: World) -> Iterator[None]:
    """Until gunicorn replaces it."""
    (pid,) = _harm(world, 1, signal.SIGSTOP)
    wait_until(lambda: pid not in world.server.workers, world.pace.replace + world.pace.heal)
    yield
