"""A short form of `make chaos-webhooks`."""

from __future__ import annotations

import os

import pytest

from dev.testing.webhook_chaos import run

EVENTS, COPIES = 200, 10


@pytest.mark.parametrize("is_disturbed", [False, True])
def test_each_event_counts_once(is_disturbed: bool) -> None:
    # Others use this machine too, and each worker that begins anew takes a second of it.
    report = run(os.environ, EVENTS, COPIES, is_disturbed=is_disturbed, callers=8, kill_every=3)
    # On a machine that is busy with other tests a 503 may be right; `make chaos-webhooks` allows none.
    if not is_disturbed:
        assert not {answer for answer in report.attempts if answer[0] in "05"} - {"503 database-unavailable"}
        assert report.attempts["200 duplicate"] >= EVENTS * (COPIES - 1)
    disturbances = {"kill_worker", "empty", "restart_redis", "restart_mysql"} if is_disturbed else set()
    assert report.disturbances.keys() == disturbances
