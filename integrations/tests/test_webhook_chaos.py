"""A short form of `make chaos-webhooks`."""

from __future__ import annotations

import os

import pytest

from dev.testing.webhook_chaos import run

EVENTS, COPIES = 200, 10


@pytest.mark.parametrize("is_disturbed", [False, True])
def test_each_event_has_one_effect(is_disturbed: bool) -> None:
    # A worker takes a second of CPU time to start.
    report = run(os.environ, EVENTS, COPIES, is_disturbed=is_disturbed, callers=8, kill_every=3)
    # A busy machine may cause a 503; `make chaos-webhooks` allows none.
    if not is_disturbed:
        assert not {answer for answer in report.attempts if answer[0] in "05"} - {"503 database-unavailable"}
        assert report.attempts["200 duplicate"] >= EVENTS * (COPIES - 1)
    disturbances = {"kill_worker", "empty", "restart_redis", "restart_mysql"} if is_disturbed else set()
    assert report.disturbances.keys() == disturbances
