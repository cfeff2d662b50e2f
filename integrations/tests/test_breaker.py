"""The breaker that all processes share, and the one of each process while Redis is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pybreaker
import pytest
import redis
import time_machine
from django.core.management import CommandError, call_command

from dev.testing.partner import FAILURES_TO_OPEN
from dev.testing.redis_keys import forget_keys, shared_redis
from farmlokal.redis.scripts import key
from integrations.breaker.breaker import Breaker, Status
from integrations.breaker.local import MAX_FAILURES, OPEN_SECONDS
from integrations.exceptions import BreakerOpenError, CallError, FailedError, NoRetryError, RejectedError
from integrations.tests.memory import reset_all, without_redis

NAME = "test"
RECORD = key("breaker", NAME)
SECOND = 1_000_000  # of the record's times


def new_process() -> Breaker:
    """One of several processes that share the breaker."""
    return Breaker(NAME, is_slow=lambda result: result == "slow", permit_seconds=lambda: 5)


@pytest.fixture
def breaker() -> Breaker:
    reset_all()
    return new_process()


@pytest.fixture
def alone() -> Iterator[Breaker]:
    reset_all()
    with without_redis():
        yield new_process()


@pytest.fixture
def in_redis() -> Iterator[redis.Redis]:
    with shared_redis() as client:
        yield client


def fail() -> str:
    raise FailedError("it answers 500")


def reject() -> str:
    raise RejectedError("it answers 404")


def succeed() -> str:
    return "good"


def call(breaker: Breaker, *functions: Callable[[], Any], times: int = 1) -> list[str]:
    """The result or the error of each call."""
    results = []
    for _ in range(times):
        for function in functions:
            try:
                results.append(breaker.call(function))
            except CallError as error:
                results.append(type(error).__name__)
    return results


def open_up(breaker: Breaker) -> None:
    call(breaker, fail, times=FAILURES_TO_OPEN)
    assert breaker.state == pybreaker.STATE_OPEN


def end_wait() -> None:
    """Move the end of the open time, or of the probe's time, to now."""
    with shared_redis() as client:
        seconds, microseconds = client.time()
        client.hset(RECORD, "ends", seconds * SECOND + microseconds)


def wait_of(breaker: Breaker) -> float:
    with pytest.raises(BreakerOpenError) as caught:
        breaker.call(succeed)
    assert isinstance(caught.value, pybreaker.CircuitBreakerError)
    return caught.value.retry_after


# Opening


def test_half_of_at_least_25_calls_failing_opens_it(breaker: Breaker) -> None:
    assert call(breaker, fail, times=FAILURES_TO_OPEN - 1) == ["FailedError"] * (FAILURES_TO_OPEN - 1)
    assert breaker.state == pybreaker.STATE_CLOSED
    assert call(breaker, fail, succeed) == ["FailedError", "BreakerOpenError"]


def test_failure_rate_counts_not_failures_in_a_row(breaker: Breaker) -> None:
    """Two of five failing stays closed; four of five opens, though pybreaker would see no five in a row."""
    assert call(breaker, fail, fail, succeed, succeed, succeed, times=30).count("BreakerOpenError") == 0
    assert "BreakerOpenError" in call(breaker, fail, fail, fail, fail, succeed, times=10)


def test_success_does_not_open_it(breaker: Breaker) -> None:
    assert call(breaker, fail, times=FAILURES_TO_OPEN - 1).count("BreakerOpenError") == 0
    assert call(breaker, succeed, times=FAILURES_TO_OPEN) == ["good"] * FAILURES_TO_OPEN


def test_rejected_calls_count_as_nothing(breaker: Breaker) -> None:
    assert call(breaker, reject, times=60) == ["RejectedError"] * 60
    call(breaker, fail, times=FAILURES_TO_OPEN - 1)
    call(breaker, reject, times=60)
    assert breaker.state == pybreaker.STATE_CLOSED
    assert call(breaker, fail, succeed) == ["FailedError", "BreakerOpenError"]


def test_slow_success_is_a_failure(breaker: Breaker) -> None:
    assert call(breaker, lambda: "slow", times=FAILURES_TO_OPEN) == ["slow"] * FAILURES_TO_OPEN
    assert call(breaker, succeed) == ["BreakerOpenError"]


def test_our_own_errors_count_as_nothing(breaker: Breaker) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    for _ in range(60):
        with pytest.raises(ZeroDivisionError):
            breaker.call(broken)
    assert call(breaker, succeed) == ["good"]


def test_failures_older_than_a_minute_do_not_count(breaker: Breaker, in_redis: redis.Redis) -> None:
    seconds, _ = in_redis.time()
    in_redis.lpush(f"{RECORD}:outcomes", *[f"bad {(seconds - 61) * SECOND}"] * 40)
    assert call(breaker, fail, succeed) == ["FailedError", "good"]


# Probes


def test_open_time_doubles_up_to_a_minute(breaker: Breaker) -> None:
    open_up(breaker)
    waits = [wait_of(breaker)]
    for _ in range(5):
        end_wait()
        assert call(breaker, fail) == ["FailedError"]  # the probe
        waits.append(wait_of(breaker))
    for wait, seconds in zip(waits, [5, 10, 20, 40, 60, 60], strict=True):
        assert seconds / 2 < wait <= seconds
    end_wait()
    assert call(breaker, succeed, succeed) == ["good", "good"]
    open_up(breaker)
    assert wait_of(breaker) <= 5


def test_rejected_probe_closes_it(breaker: Breaker) -> None:
    open_up(breaker)
    end_wait()
    assert call(breaker, reject, succeed) == ["RejectedError", "good"]


def test_one_probe_across_threads_and_processes(breaker: Breaker) -> None:
    open_up(breaker)
    end_wait()
    processes, probes = [new_process() for _ in range(4)], []
    all_ready, others_refused = threading.Barrier(32), threading.Event()
    refused: list[str] = []

    def probe() -> str:
        probes.append(1)
        assert others_refused.wait(30)
        return "good"

    def run(number: int) -> None:
        all_ready.wait()
        refused.extend(result for result in call(processes[number % 4], probe) if result != "good")
        if len(refused) == 31:
            others_refused.set()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(run, range(32)))
    assert len(probes) == 1
    assert refused == ["BreakerOpenError"] * 31
    assert [call(process, succeed) for process in processes] == [["good"]] * 4


def test_lost_probe_is_replaced_when_its_time_is_over(breaker: Breaker) -> None:
    open_up(breaker)
    end_wait()
    record_lost = breaker.admit()
    assert wait_of(breaker) <= 5
    end_wait()
    record = breaker.admit()
    record_lost("bad")  # too late
    record("good")
    assert call(breaker, succeed) == ["good"]


def test_probe_without_outcome_is_repeated(breaker: Breaker) -> None:
    open_up(breaker)
    end_wait()
    breaker.admit()("nothing")
    assert call(breaker, succeed, succeed) == ["good", "good"]


def test_calls_admitted_before_it_opened_do_not_count(breaker: Breaker) -> None:
    records = [breaker.admit() for _ in range(FAILURES_TO_OPEN)]
    open_up(breaker)
    records.pop()("good")
    assert call(breaker, succeed) == ["BreakerOpenError"]
    end_wait()
    assert call(breaker, succeed) == ["good"]
    for record in records:
        record("bad")
    assert call(breaker, fail, succeed) == ["FailedError", "good"]


# Calls


@pytest.mark.parametrize("is_shared", [True, False])
def test_no_lock_is_held_during_a_call(is_shared: bool, request: pytest.FixtureRequest) -> None:
    breaker: Breaker = request.getfixturevalue("breaker" if is_shared else "alone")
    all_inside = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: breaker.call(lambda: all_inside.wait(30)), range(8)))


def test_retries_share_a_budget(breaker: Breaker) -> None:
    assert [breaker.call(succeed, is_retry=True) for _ in range(2)] == ["good"] * 2
    with pytest.raises(NoRetryError):
        breaker.call(succeed, is_retry=True)
    call(new_process(), succeed, times=25)
    assert breaker.call(succeed, is_retry=True) == "good"
    with pytest.raises(NoRetryError):
        breaker.call(succeed, is_retry=True)


def test_retry_is_no_probe(breaker: Breaker) -> None:
    open_up(breaker)
    end_wait()
    with pytest.raises(BreakerOpenError):
        breaker.call(succeed, is_retry=True)


def test_call_costs_two_commands(breaker: Breaker) -> None:
    from farmlokal.observability import request_costs  # noqa: PLC0415

    call(breaker, succeed)
    request_costs.current.clear()
    call(breaker, succeed)
    assert request_costs.current.commands == 2


# Redis emptied, or an older copy


def test_emptied_redis_stays_open(breaker: Breaker, in_redis: redis.Redis) -> None:
    open_up(breaker)
    forget_keys()
    assert 0 < wait_of(breaker) <= 5
    assert call(new_process(), succeed) == ["BreakerOpenError"]


def test_older_copy_of_redis_does_not_reopen_it(breaker: Breaker, in_redis: redis.Redis) -> None:
    open_up(breaker)
    older = in_redis.dump(RECORD) or b""
    end_wait()
    call(breaker, succeed)
    in_redis.restore(RECORD, 0, older, replace=True)
    assert call(breaker, succeed, succeed) == ["good", "good"]


def test_clock_set_back_does_not_keep_it_open(breaker: Breaker, in_redis: redis.Redis) -> None:
    open_up(breaker)
    seconds, _ = in_redis.time()
    in_redis.hset(RECORD, "ends", (seconds + 3600) * SECOND)
    assert call(breaker, succeed) == ["good"]


# Without Redis


def test_alone_ten_failures_in_a_row_open_it(alone: Breaker) -> None:
    call(alone, fail, times=MAX_FAILURES - 1)
    call(alone, succeed)
    call(alone, *[fail, reject] * MAX_FAILURES)
    assert call(alone, succeed) == ["BreakerOpenError"]
    assert 0 < wait_of(alone) <= OPEN_SECONDS


def test_alone_one_probe_at_a_time_decides(alone: Breaker) -> None:
    with time_machine.travel(0, tick=False) as clock:
        late = alone.admit()
        call(alone, fail, times=MAX_FAILURES)
        late("good")
        assert wait_of(alone) == OPEN_SECONDS
        clock.shift(OPEN_SECONDS)
        record = alone.admit()
        assert call(alone, succeed) == ["BreakerOpenError"]
        record("nothing")
        assert call(alone, fail) == ["FailedError"]
        assert wait_of(alone) == OPEN_SECONDS
        clock.shift(OPEN_SECONDS)
        assert call(alone, reject, succeed) == ["RejectedError", "good"]


def test_alone_clock_set_back_does_not_keep_it_open(alone: Breaker) -> None:
    with time_machine.travel(7200, tick=False) as clock:
        call(alone, fail, times=MAX_FAILURES)
        clock.shift(-3600)
        assert call(alone, succeed, succeed) == ["good", "good"]


def test_alone_there_are_no_retries(alone: Breaker) -> None:
    with pytest.raises(NoRetryError):
        alone.call(succeed, is_retry=True)


def test_breaker_stays_open_when_redis_goes_away(breaker: Breaker) -> None:
    open_up(breaker)
    with without_redis():
        assert 0 < wait_of(breaker) <= OPEN_SECONDS
    assert 0 < wait_of(breaker) <= 5


def test_held_breaker_stays_open_when_redis_goes_away(breaker: Breaker) -> None:
    breaker.hold_open()
    with without_redis(), time_machine.travel("2040-01-01", tick=False):
        assert wait_of(breaker) == 60


def test_shared_state_rules_again_when_redis_returns(breaker: Breaker) -> None:
    with without_redis():
        call(breaker, fail, times=MAX_FAILURES)
        assert breaker.state == pybreaker.STATE_OPEN
    assert call(breaker, succeed) == ["good"]
    assert breaker.state == pybreaker.STATE_CLOSED


def test_unusable_record_counts_as_redis_away(breaker: Breaker, in_redis: redis.Redis) -> None:
    in_redis.set(RECORD, "of another type")
    assert call(breaker, fail, times=MAX_FAILURES) == ["FailedError"] * MAX_FAILURES
    assert call(breaker, succeed) == ["BreakerOpenError"]


# Operators


def test_command_changes_the_breaker_for_all(capsys: pytest.CaptureFixture[str], in_redis: redis.Redis) -> None:
    from integrations.partner.client import client  # noqa: PLC0415

    reset_all()
    breaker = client.breaker

    def run(option: str) -> str:
        call_command("breaker", "partner", option)
        return capsys.readouterr().out.splitlines()[-1]

    assert run("--show") == "partner: closed; 0 of the last 0 calls failed"
    assert run("--open") == "partner: open until you close it"
    assert in_redis.ttl(breaker.key) > 24 * 3600
    with pytest.raises(BreakerOpenError):
        breaker.admit()
    forget_keys()
    assert run("--show") == "partner: closed; 0 of the last 0 calls failed"
    with pytest.raises(BreakerOpenError):
        breaker.admit()  # and brings the state back
    assert run("--show") == "partner: open until you close it"
    assert run("--close") == "partner: closed; 0 of the last 0 calls failed"
    for _ in range(3):
        breaker.admit()("bad")
    assert run("--show") == "partner: closed; 3 of the last 3 calls failed"
    assert run("--reset") == "partner: closed; 0 of the last 0 calls failed"
    for _ in range(FAILURES_TO_OPEN):
        breaker.admit()("bad")
    assert run("--show").startswith("partner: open for another ")
    assert run("--show").endswith("; it has opened 1 time")
    run("--reset")


@pytest.mark.parametrize(("option", "message"), [("--open", "Nothing has"), ("--show", "Redis does not answer")])
def test_command_needs_redis(alone: Breaker, option: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("breaker", "partner", option)


def test_command_needs_an_option() -> None:
    with pytest.raises(CommandError):
        call_command("breaker", "partner")


def test_status_changes_nothing(breaker: Breaker, in_redis: redis.Redis) -> None:
    call(breaker, fail, succeed)
    before = in_redis.hgetall(RECORD)
    assert breaker.status() == Status("closed", 0, 0, 2, 1)
    assert in_redis.hgetall(RECORD) == before
