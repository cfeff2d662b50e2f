"""The breaker: the same rules for all processes together, and for one alone while Redis is away."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pybreaker
import pytest
import redis
from django.core.management import CommandError, call_command

from farmlokal.redis.scripts import key
from integrations.breaker import LEAST, Breaker, Status, microseconds
from integrations.exceptions import BreakerOpenError, CallError, FailedError, NoRetryError, RejectedError
from integrations.tests.memory import clean_slate, redis_let_be

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "test"
RECORD = key("breaker", NAME)


def process() -> Breaker:
    """One of several that share the breaker."""
    return Breaker(NAME, is_slow=lambda result: result == "slow", permit_seconds=lambda: 0.5)


@pytest.fixture(params=["shared", "alone"])
def breaker(request: pytest.FixtureRequest) -> Iterator[Breaker]:
    clean_slate()
    with redis_let_be() if request.param == "alone" else contextlib.nullcontext():
        yield process()


@pytest.fixture
def shared() -> Breaker:
    clean_slate()
    return process()


@pytest.fixture
def in_redis() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        yield client


def fail() -> str:
    raise FailedError("it answers 500")


def reject() -> str:
    raise RejectedError("it answers 404")


def works() -> str:
    return "good"


def call(breaker: Breaker, *functions: Callable[[], Any], times: int = 1) -> list[str]:
    """What became of each."""
    found = []
    for _ in range(times):
        for function in functions:
            try:
                found.append(breaker.call(function))
            except CallError as error:
                found.append(type(error).__name__)
    return found


def open_up(breaker: Breaker) -> None:
    call(breaker, fail, times=LEAST)
    assert breaker.state.name == pybreaker.STATE_OPEN


def let_time_pass(breaker: Breaker) -> None:
    """Until a probe may go."""
    storage = breaker.storage
    storage._known = replace(storage._known, ends=microseconds())
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        if client.exists(RECORD):
            client.hset(RECORD, "ends", microseconds())
    time.sleep(0.001)


def wait_of(breaker: Breaker) -> float:
    with pytest.raises(BreakerOpenError) as caught:
        breaker.call(works)
    assert isinstance(caught.value, pybreaker.CircuitBreakerError)
    return caught.value.retry_after


# When it opens


def test_it_opens_where_half_of_the_last_calls_failed(breaker: Breaker) -> None:
    assert call(breaker, fail, times=LEAST - 1) == ["FailedError"] * (LEAST - 1)
    assert breaker.state.name == pybreaker.STATE_CLOSED
    assert call(breaker, fail, works) == ["FailedError", "BreakerOpenError"]


def test_a_rate_counts_not_a_row(breaker: Breaker) -> None:
    """Where pybreaker stays closed (four of five fail), and where nobody would want it open (two of five)."""
    assert call(breaker, fail, fail, works, works, works, times=30).count("BreakerOpenError") == 0
    assert "BreakerOpenError" in call(breaker, fail, fail, fail, fail, works, times=10)


def test_the_other_sides_own_refusals_count_as_nothing(breaker: Breaker) -> None:
    assert call(breaker, reject, times=60) == ["RejectedError"] * 60
    call(breaker, fail, times=LEAST - 1)
    call(breaker, reject, times=60)
    assert breaker.state.name == pybreaker.STATE_CLOSED
    assert call(breaker, fail, works) == ["FailedError", "BreakerOpenError"]


def test_a_slow_success_is_a_failure(breaker: Breaker) -> None:
    assert call(breaker, lambda: "slow", times=LEAST) == ["slow"] * LEAST
    assert call(breaker, works) == ["BreakerOpenError"]


def test_what_is_no_call_error_says_nothing_about_the_other_side(breaker: Breaker) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    for _ in range(60):
        with pytest.raises(ZeroDivisionError):
            breaker.call(broken)
    assert call(breaker, works) == ["good"]


def test_failures_of_more_than_a_minute_ago_count_no_more(shared: Breaker, in_redis: redis.Redis) -> None:
    long_ago = microseconds() - 61_000_000
    in_redis.lpush(f"{RECORD}:outcomes", *[f"bad {long_ago}"] * 40)
    assert call(shared, fail, works) == ["FailedError", "good"]


# How it heals


def test_it_is_open_for_longer_each_time(breaker: Breaker) -> None:
    open_up(breaker)
    waits = [wait_of(breaker)]
    for _ in range(5):
        let_time_pass(breaker)
        assert call(breaker, fail) == ["FailedError"]  # the probe
        waits.append(wait_of(breaker))
    assert waits == pytest.approx([5, 10, 20, 40, 60, 60], abs=0.5)
    let_time_pass(breaker)
    assert call(breaker, works, works) == ["good", "good"]
    open_up(breaker)
    assert wait_of(breaker) == pytest.approx(5, abs=0.5)


def test_a_refusal_shows_that_somebody_is_there(breaker: Breaker) -> None:
    open_up(breaker)
    let_time_pass(breaker)
    assert call(breaker, reject, works) == ["RejectedError", "good"]


def test_one_probe_of_all_threads_of_all_processes(shared: Breaker) -> None:
    open_up(shared)
    let_time_pass(shared)
    processes, probes, together = [process() for _ in range(4)], [], threading.Barrier(32)

    def probe() -> str:
        probes.append(1)
        time.sleep(0.2)
        return "good"

    def go(number: int) -> list[str]:
        together.wait()
        return call(processes[number % 4], probe)

    with ThreadPoolExecutor(32) as pool:
        results = [result for results in pool.map(go, range(32)) for result in results]
    assert len(probes) == 1
    assert sorted(results) == ["BreakerOpenError"] * 31 + ["good"]
    assert [call(one, works) for one in processes] == [["good"]] * 4


def test_while_a_probe_is_out_nobody_else_calls(breaker: Breaker) -> None:
    open_up(breaker)
    let_time_pass(breaker)
    admitted = breaker.storage.admit(5, is_retry=False)
    assert call(breaker, works) == ["BreakerOpenError"]
    breaker.storage.record(admitted, "good")
    assert call(breaker, works) == ["good"]


def test_a_probe_whose_process_died_stands_in_nobodys_way(breaker: Breaker) -> None:
    open_up(breaker)
    let_time_pass(breaker)
    breaker.storage.admit(1, is_retry=False)  # and nothing is heard of it
    assert wait_of(breaker) <= 1
    time.sleep(1.05)
    assert call(breaker, works, works) == ["good", "good"]


def test_a_probe_that_came_to_nothing_is_made_again(breaker: Breaker) -> None:
    open_up(breaker)
    let_time_pass(breaker)
    breaker.storage.record(breaker.storage.admit(5, is_retry=False), "nothing")
    assert call(breaker, works, works) == ["good", "good"]


def test_what_began_before_it_opened_does_not_count_afterwards(breaker: Breaker) -> None:
    admitted = [breaker.storage.admit(5, is_retry=False) for _ in range(LEAST)]
    open_up(breaker)
    breaker.storage.record(admitted.pop(), "good")
    assert call(breaker, works) == ["BreakerOpenError"]
    let_time_pass(breaker)
    assert call(breaker, works) == ["good"]
    for late in admitted:
        breaker.storage.record(late, "bad")
    assert call(breaker, fail, works) == ["FailedError", "good"]


# Beside calls


def test_nobody_holds_a_lock_during_a_call(breaker: Breaker) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: breaker.call(lambda: time.sleep(0.3)), range(8)))
    assert time.monotonic() - began < 8 * 0.3


def test_second_attempts_are_few(breaker: Breaker) -> None:
    assert [breaker.call_again(works) for _ in range(2)] == ["good"] * 2
    with pytest.raises(NoRetryError):
        breaker.call_again(works)
    call(breaker, works, times=25)
    assert breaker.call_again(works) == "good"
    with pytest.raises(NoRetryError):
        breaker.call_again(works)
    open_up(breaker)
    let_time_pass(breaker)
    with pytest.raises(BreakerOpenError):
        breaker.call_again(works)  # a probe is a first attempt


def test_an_attempt_is_two_commands(shared: Breaker) -> None:
    from farmlokal.observability import request_costs  # noqa: PLC0415

    call(shared, works)
    request_costs.current.clear()
    call(shared, works)
    assert request_costs.current.commands == 2


# Redis emptied, away, and back


def test_redis_emptied_while_it_is_open(shared: Breaker, in_redis: redis.Redis) -> None:
    open_up(shared)
    in_redis.flushdb()
    assert wait_of(shared) == pytest.approx(5, abs=0.5)
    assert call(process(), works) == ["BreakerOpenError"]  # who knew nothing of it


def test_an_older_copy_of_redis_does_not_bring_back_an_open_breaker(shared: Breaker, in_redis: redis.Redis) -> None:
    open_up(shared)
    older = in_redis.dump(RECORD) or b""
    let_time_pass(shared)
    call(shared, works)
    in_redis.restore(RECORD, 0, older, replace=True)
    assert call(shared, works, works) == ["good", "good"]


def test_redis_away_while_it_is_open_and_back(shared: Breaker, in_redis: redis.Redis) -> None:
    open_up(shared)
    with redis_let_be():
        assert wait_of(shared) == pytest.approx(5, abs=0.5)
    assert wait_of(shared) == pytest.approx(5, abs=0.5)
    shared.reset()
    assert call(shared, works) == ["good"]
    with redis_let_be():
        open_up(shared)
    assert call(shared, works) == ["BreakerOpenError"]
    assert call(process(), works) == ["BreakerOpenError"]


def test_a_clock_of_redis_that_was_put_back_locks_nobody_out(shared: Breaker, in_redis: redis.Redis) -> None:
    open_up(shared)
    in_redis.hset(RECORD, "ends", microseconds() + 3600 * 1_000_000)
    shared.storage._begin_anew()
    assert call(shared, works) == ["good"]


def test_redis_that_takes_no_writes_is_as_one_that_is_away(shared: Breaker, in_redis: redis.Redis) -> None:
    in_redis.set(RECORD, "of another type")
    assert call(shared, fail, times=LEAST) == ["FailedError"] * LEAST
    assert call(shared, works) == ["BreakerOpenError"]


# For operators


def test_what_operators_say_all_processes_do(capsys: pytest.CaptureFixture[str], in_redis: redis.Redis) -> None:
    from integrations.partner.client import client  # noqa: PLC0415

    clean_slate()
    breaker = client.breaker

    def said(*arguments: str) -> str:
        call_command("breaker", "partner", *arguments)
        return capsys.readouterr().out.splitlines()[-1]

    assert said("--show") == "partner: closed; 0 of the last 0 calls failed"
    assert said("--open") == "partner: open, until it is closed by hand"
    assert in_redis.ttl(key("breaker", "partner")) > 24 * 3600
    with pytest.raises(BreakerOpenError):
        breaker.storage.admit(1, is_retry=False)
    in_redis.flushdb()
    assert said("--show") == "partner: closed; 0 of the last 0 calls failed"
    with pytest.raises(BreakerOpenError):
        breaker.storage.admit(1, is_retry=False)  # and brings it back
    assert said("--close") == "partner: closed; 0 of the last 0 calls failed"
    for _ in range(3):
        breaker.storage.record(breaker.storage.admit(1, is_retry=False), "bad")
    assert said("--show") == "partner: closed; 3 of the last 3 calls failed"
    assert said("--reset") == "partner: closed; 0 of the last 0 calls failed"
    for _ in range(LEAST):
        breaker.storage.record(breaker.storage.admit(1, is_retry=False), "bad")
    assert said("--show").startswith("partner: open for another ")
    assert "1 times in a row" in said("--show")
    said("--reset")
    with pytest.raises(CommandError):
        call_command("breaker", "partner")
    with redis_let_be(), pytest.raises(CommandError, match="nothing is changed"):
        call_command("breaker", "partner", "--open")
    with redis_let_be(), pytest.raises(CommandError, match="Redis does not answer"):
        call_command("breaker", "partner", "--show")


def test_the_status_is_for_reading(shared: Breaker, in_redis: redis.Redis) -> None:
    call(shared, fail, works)
    before = in_redis.hgetall(RECORD)
    assert shared.storage.status() == Status("closed", False, 0, 0, 2, 1)
    assert in_redis.hgetall(RECORD) == before
