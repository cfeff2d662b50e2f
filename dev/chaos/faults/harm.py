"""Code for faults of several parts: a proxy that misbehaves, a process that is dead or frozen, repeated work."""

from __future__ import annotations

import threading
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


@contextmanager
def repeating(work: Callable[[], object], seconds: float = REPEAT_SECONDS) -> Iterator[None]:
    """Do it every so many seconds, in a thread. Raises its error."""
    is_over, errors = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            while not is_over.is_set():
                work()
                is_over.wait(seconds)
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if errors:
        raise errors[0]
