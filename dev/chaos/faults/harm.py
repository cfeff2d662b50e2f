"""Code for faults of several parts: a proxy that misbehaves, a process that is dead or frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from dev.chaos.world import World
from dev.testing.proxy import Behaviour, Proxy
from dev.testing.servers import Daemon

Fault: TypeAlias = Callable[[World], AbstractContextManager[None]]

REPEAT_SECONDS = 1


@contextmanager
def behaving(proxy: Proxy, behaviour: Behaviour, delay: float = 0) -> Iterator[None]:
    proxy.behave(behaviour, delay)
    try:
        yield
    finally:
        proxy.behave("pass")


@contextmanager
def dead(daemon: Daemon, proxy: Proxy) -> Iterator[None]:
    """Killed; its port refuses connections, as without the proxy."""
    with behaving(proxy, "refuse"):
        daemon.kill()
        try:
            yield
        finally:
            daemon.start()


@contextmanager
def frozen(daemon: Daemon) -> Iterator[None]:
    daemon.freeze()
    try:
        yield
    finally:
        daemon.thaw()
