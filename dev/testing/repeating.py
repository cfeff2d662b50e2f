"""Work that goes on in a thread beside a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(work: Callable[[], object], pause: float = 0) -> Iterator[None]:
    """Do the work in a thread, with a pause in seconds after each time, until the block ends. Raises its error then."""
    is_over, errors = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            while not is_over.is_set():
                work()
                is_over.wait(pause)
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
