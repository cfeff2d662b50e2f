"""`make load`, `make soak` and `make fuzz` find the problems that they look for. Whole runs would take minutes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dev.bench.soak import has_grown
from dev.fuzz.api import Api
from dev.fuzz.cases import Case, request
from dev.fuzz.exchange import Outcome
from dev.fuzz.report import Report
from dev.fuzz.values import Values
from dev.fuzz.wire import Wire
from dev.testing.deliveries import SECRET

NAMES = ("commodity", "farm", "ids", "pincode", "q")
CREDENTIALS = {"LOAD_TOKEN_URL": "http://127.0.0.1:1/token", "LOAD_CLIENT_ID": "a", "LOAD_CLIENT_SECRET": "b"}


def users_of(**secrets: str) -> list[str]:
    """The classes that Locust finds."""
    command = [str(Path(sys.executable).with_name("locust")), "--list"]
    listed = subprocess.run(command, env={**os.environ, **secrets}, capture_output=True, text=True, check=True).stdout
    return listed.split()[2:]  # after "Available Users:"


@pytest.mark.parametrize(
    ("secrets", "users"),
    [
        ({}, ["Visitor"]),
        (CREDENTIALS, ["Shop", "Visitor"]),
        ({"LOAD_WEBHOOK_SECRET": SECRET}, ["Partner", "Visitor"]),
    ],
    ids=["no secrets", "credentials", "webhook secret"],
)
def test_users_without_their_secret_are_left_out(secrets: dict[str, str], users: list[str]) -> None:
    assert sorted(users_of(**secrets)) == users


@pytest.mark.parametrize(
    ("name", "before", "after", "grown"),
    [
        ("worker 1: RSS, MiB", 100, 105, False),
        ("worker 1: RSS, MiB", 100, 106, True),
        ("worker 1: RSS, MiB", 100, 50, False),
        ("worker 1: threads", 20, 22, False),
        ("worker 1: threads", 20, 23, True),
        ("MySQL: sessions of staff", 0, 1, True),
        ("Redis: keys of webhooks", 10, 1000, False),
    ],
)
def test_growth_above_five_percent_is_noticed(name: str, before: float, after: float, grown: bool) -> None:
    assert has_grown(name, before, after) is grown


def failures_of(case: Case, *statuses: int) -> int:
    report = Report()
    report.add(case, Outcome(statuses, b""))
    return report.failures


def test_server_errors_and_lost_responses_are_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dev.fuzz.report.FAILURES", tmp_path / "failures.jsonl")
    read, raw = request("reads", "GET", "/livez", {}), Wire(random.Random(1)).case()
    assert [failures_of(read, status) for status in (200, 404, 500, 501, 503, 0)] == [0, 0, 1, 1, 1, 1]
    assert [failures_of(raw, status) for status in (400, 500, 501, 503, 505, 0)] == [0, 1, 0, 1, 0, 0]
    assert failures_of(raw, 200, 500) == 1


def test_same_seed_makes_the_same_cases() -> None:
    def made() -> list[Case]:
        values = Values(random.Random(7))
        api = Api(values, {name: ["1", "2"] for name in NAMES}, "token", SECRET)
        values.refill()
        return [make() for make in (api.read, api.write, Wire(values.rng).case) for _ in range(100)]

    assert made() == made()
