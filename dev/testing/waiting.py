"""Polling with a deadline, for tests that wait for other threads and processes."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT_SECONDS = 60  # a busy machine needs many times what a calm one does
POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], T], seconds: float = TIMEOUT_SECONDS) -> T:
    """Return what condition() returns once it is true; after `seconds` raise an AssertionError that quotes it."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still false after {seconds:g} s: {_describe(condition)}"
        time.sleep(POLL_SECONDS)
    return result


def _describe(condition: Callable[[], object]) -> str:
    is_lambda = getattr(condition, "__name__", "") == "<lambda>"
    return inspect.getsource(condition).strip() if is_lambda else repr(condition)
