"""Our own access tokens: one call to the provider for all threads and processes, whatever happens to it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
import time_machine

from accounts import shared_value, tokens
from accounts.shared_value import Fetched, FetchError, Refreshed, UnavailableError
from accounts.tokens import get_access_token
from dev.testing.servers import free_port
from dev.testing.token_provider import Provider, issued, provider, refused
from dev.testing.waiting import wait_until
from farmlokal.http.problems import Problem
from farmlokal.observability import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.fixtures import Settings

    from dev.testing.servers import Daemon

START_SECONDS = 3.0  # until a process may be ready
NOW = 1_795_000_000.0


@pytest.fixture
def in_redis() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client


@pytest.fixture
def given(in_redis: redis.Redis, settings: Settings) -> Iterator[Provider]:
    """A provider that this process, whose memory is empty, is configured for."""
    tokens._token.cache_clear()
    with provider() as found:
        for name, value in found.settings.items():
            setattr(settings, name, value)
        yield found


def soon(seconds: float = 5) -> float:
    return time.monotonic() + seconds


def reason(caught: pytest.ExceptionInfo[Problem]) -> str:
    return str(caught.value.__cause__)


def forgetful() -> None:
    """This process is as one that has just begun."""
    tokens._token.cache_clear()


class Callers:
    """A process of callers.py."""

    def __init__(
        self,
        given: Provider,
        *,
        threads: int = 50,
        starts: float = 0,
        until: float = 0,
        wait: float = 8,
        **environment: str,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dev.testing.token_callers", *map(str, (threads, starts, until, wait))],
            env={
                **os.environ,
                **given.settings,
                "DJANGO_SETTINGS_MODULE": "farmlokal.settings",
                "PYTHONPATH": ".",
                "LOG_LEVEL": "ERROR",
                **environment,
            },
            stdout=subprocess.PIPE,
        )

    def result(self) -> dict[str, Any]:
        output, _ = self.process.communicate(timeout=60)
        found: dict[str, Any] = json.loads(output)
        return found


# One call


def test_two_hundred_threads_of_four_processes_with_an_expired_token_are_one_call(given: Provider) -> None:
    given.answer = lambda number: issued(number, expires_in=1 if number == 1 else 3600)
    assert get_access_token() == "token-1"
    starts = time.time() + START_SECONDS
    processes = [Callers(given, starts=starts) for _ in range(4)]
    results = [process.result() for process in processes]
    assert len(given.calls) == 2
    assert {tuple(result["tokens"]) for result in results} == {("token-2",)}
    assert not any(result["failures"] for result in results)


def test_with_the_refresher_killed_in_its_call_they_are_two(given: Provider) -> None:
    is_called, go_on = threading.Event(), threading.Event()

    def answer(number: int) -> Any:
        if number == 1:
            is_called.set()
            go_on.wait(10)
        return issued(number)

    given.answer = answer
    first = Callers(given, threads=1)
    assert is_called.wait(20)
    starts = time.time() + START_SECONDS
    others = [Callers(given, starts=starts) for _ in range(4)]
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    time.sleep(max(starts - time.time() - 0.2, 0))
    take_the_lock_of_one_who_dies()  # as if that was now: others wait for as long as they may ever have to
    results = [other.result() for other in others]
    go_on.set()
    assert len(given.calls) == 2
    assert {tuple(result["tokens"]) for result in results} == {("token-2",)}
    assert max(result["longest"] for result in results) < shared_value.LOCK_SECONDS + 1


def take_the_lock_of_one_who_dies() -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        (record,) = [key for key in client.keys("*token:*") if not key.endswith(b"lock")]
        client.set(record + b":lock", "dead", px=int(shared_value.LOCK_SECONDS * 1000))


def test_a_late_refresher_does_not_overwrite_a_newer_token(in_redis: redis.Redis) -> None:
    """Two processes, each with a memory of its own: one is so slow that its lock has ended, and another has taken over,
    when it is through."""
    is_slow, go_on, moment = threading.Event(), threading.Event(), time.time()

    def slow(_: float) -> Fetched:
        is_slow.set()
        go_on.wait(20)
        return Fetched("older", moment + 3600, moment + 3000)

    late = Refreshed("value", slow)
    quick = Refreshed("value", lambda _: Fetched("newer", moment + 3600, moment + 3000))
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(late.get(soon(20)).value))
    waiting.start()
    assert is_slow.wait(10)
    newer = quick.get(soon(10))
    assert newer.value == "newer"
    go_on.set()
    waiting.join(20)
    assert found == ["newer"]
    third = Refreshed("value", lambda _: pytest.fail("there is one"))
    assert third.get(soon()) == newer


def test_ten_thousand_calls_over_three_lifetimes_are_three_calls(given: Provider) -> None:
    """A second apart, by a clock that is moved: no call is answered with a token that is over."""
    ends: dict[str, float] = {}

    def answer(number: int) -> Any:
        ends[f"token-{number}"] = time.time() + 3600
        return issued(number)

    given.answer = answer
    with time_machine.travel(NOW, tick=False) as clock:
        for second in range(10_000):
            clock.move_to(NOW + second)
            assert time.time() < ends[get_access_token()]
    assert len(given.calls) == 3


# The provider fails


def test_a_due_token_outlasts_a_provider_that_is_down(given: Provider) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        assert get_access_token() == "token-1"
        given.answer = lambda _: refused(503)
        clock.move_to(NOW + 3600 - 30 - 75)  # due for sure
        for _ in range(60):
            clock.shift(1)
            began = time.perf_counter()
            assert get_access_token() == "token-1"
            assert time.perf_counter() - began < 1
        wait_until(lambda: get_access_token() == "token-1" and len(given.calls) > 1, 10)
        given.answer = issued
        clock.shift(60)  # over now: one has to wait
        assert get_access_token(soon(20)).startswith("token-")


def test_without_a_token_it_is_partner_unavailable_within_the_deadline(given: Provider) -> None:
    """And at most one call a second, from all processes together."""
    given.answer = lambda _: refused(503)
    starts = time.time() + START_SECONDS
    processes = [Callers(given, threads=8, starts=starts, until=starts + 6, wait=0.5) for _ in range(4)]
    results = [process.result() for process in processes]
    failures = {code for result in results for code in result["failures"]}
    assert "partner-unavailable" in failures
    assert failures <= {"partner-unavailable", "partner-timeout"}  # who waits for another's call till the end
    assert not any(result["tokens"] for result in results)
    assert max(result["longest"] for result in results) < 0.5 + 1
    assert 2 <= len(given.calls) <= 7
    assert min(after - before for before, after in zip(given.calls, given.calls[1:], strict=False)) > 0.5


@pytest.mark.parametrize("status", [400, 401])
def test_a_client_that_is_refused_is_not_sent_again_for_a_minute(
    given: Provider, in_redis: redis.Redis, status: int
) -> None:
    given.answer = lambda _: refused(status)
    for _ in range(5):
        forgetful()  # all processes know
        with pytest.raises(Problem) as caught:
            get_access_token(soon(1))
        assert caught.value.code == "partner-unavailable"
        assert f"answers {status} invalid_client" in reason(caught)
        assert "invalid_client" not in str(caught.value.detail)  # nothing internal leaks
        assert 55 <= int(caught.value.headers["Retry-After"]) <= 60
    assert len(given.calls) == 1


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [("7", 6, 7), ("9999", 295, 300), ("soon", 1, 3), (f"Mon, 01 Jan 2024 00:00:00 +{9 * 10**19}", 1, 3)],
)
def test_retry_after_is_obeyed(given: Provider, asked: str, least: int, most: int) -> None:
    given.answer = lambda _: refused(429, {"Retry-After": asked})
    with pytest.raises(Problem) as caught:
        get_access_token(soon(0.5))
    assert least <= int(caught.value.headers["Retry-After"]) <= most
    assert len(given.calls) == 1


def test_a_failure_that_passes_is_tried_again_within_the_deadline(given: Provider) -> None:
    given.answer = lambda number: refused(503) if number == 1 else issued(number)
    assert get_access_token(soon(6)) == "token-2"
    assert given.calls[1] - given.calls[0] > 0.5


def test_a_provider_that_never_answers_is_given_two_seconds(given: Provider) -> None:
    go_on = threading.Event()
    given.answer = lambda number: (go_on.wait(20), issued(number))[1]
    began = time.monotonic()
    with pytest.raises(Problem):
        get_access_token(soon(0.4))
    assert time.monotonic() - began < 1.5
    with pytest.raises(Problem) as caught:
        get_access_token(soon(2))
    go_on.set()
    assert "does not answer" in reason(caught) or "still being fetched" in reason(caught)
    assert time.monotonic() - began < 5


# What providers say


@pytest.mark.parametrize(
    ("expires_in", "usable"),
    [
        (3600, 3570),
        ("3600", 3570),
        (3600.5, 3570.5),
        (None, 270),
        ("soon", 270),
        (True, 270),
        ([], 270),
        (10, 9),
        (1, 0.9),
        (10**12, 86370),
        (10**400, 86370),
        (float("inf"), 86370),
        (float("nan"), 270),
    ],
)
def test_how_long_a_token_is_used(given: Provider, expires_in: Any, usable: float) -> None:
    given.answer = lambda number: issued(number, expires_in=expires_in)
    with time_machine.travel(NOW, tick=False) as clock:
        assert get_access_token() == "token-1"
        clock.move_to(NOW + usable - 0.1)
        assert get_access_token() == "token-1"
        time.sleep(1.1)  # calls are a second apart
        clock.move_to(NOW + usable + 0.1)
        assert get_access_token() != "token-1"


@pytest.mark.parametrize("expires_in", [0, -1, "0", -(10**400), float("-inf")])
def test_a_token_that_is_over_when_it_comes_is_none(given: Provider, expires_in: Any) -> None:
    given.answer = lambda number: issued(number, expires_in=expires_in)
    with pytest.raises(Problem) as caught:
        get_access_token(soon(0.5))
    assert "expired already" in reason(caught)


@pytest.mark.parametrize(
    "members",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "a b"},
        {"access_token": "a\r\nX-Evil: 1"},
        {"access_token": "a" * 20_000},
        {"token_type": None},
        {"token_type": "mac"},
    ],
)
def test_an_answer_that_is_no_token(given: Provider, members: dict[str, Any]) -> None:
    given.answer = lambda number: issued(number, **members)
    with pytest.raises(Problem) as caught:
        get_access_token(soon(0.5))
    assert "access_token" in reason(caught) or "token_type" in reason(caught)


def test_how_the_provider_is_asked(given: Provider, settings: Settings) -> None:
    settings.OAUTH_SCOPE, settings.OAUTH_AUDIENCE = "quotes:read more", "https://partner.example/"
    get_access_token()
    (request,) = given.requests
    assert request.authorization is not None
    # Form-encoded before they are put together (RFC 6749, 2.3.1).
    assert (request.authorization.username, request.authorization.password) == ("farm+lokal", "s3cret%3A%26%25")
    assert request.form.to_dict() == {
        "grant_type": "client_credentials",
        "scope": "quotes:read more",
        "audience": "https://partner.example/",
    }


def test_scope_and_audience_are_left_out_where_there_are_none(given: Provider) -> None:
    get_access_token()
    assert given.requests[0].form.to_dict() == {"grant_type": "client_credentials"}


# The partner refuses a token


def test_only_the_very_token_that_failed_is_discarded(given: Provider) -> None:
    assert get_access_token() == "token-1"
    tokens.reject("token-0")
    assert get_access_token() == "token-1"
    tokens.reject("token-1")
    assert get_access_token() == "token-2"
    tokens.reject("token-1")  # somebody who was slow
    assert get_access_token() == "token-2"
    forgetful()
    assert get_access_token() == "token-2"
    assert given.calls[1] - given.calls[0] > 0.95  # a partner that refuses them all


def test_a_rejected_token_is_gone_even_where_redis_does_not_hear_of_it(
    given: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_access_token()
    with monkeypatch.context() as silent:
        silent.setattr(shared_value, "run", lambda *_, **__: None)
        tokens.reject("token-1")
    assert get_access_token() == "token-2"


# Redis


def test_redis_full_it_is_as_if_it_was_away(given: Provider, redis_alone: Daemon) -> None:
    with redis.Redis.from_url(redis_alone.url) as client:
        client.config_set("maxmemory", 1)
    assert [get_access_token() for _ in range(3)] == ["token-1"] * 3


def test_a_clock_of_redis_that_was_put_back_stops_nobody(given: Provider, in_redis: redis.Redis) -> None:
    get_access_token()
    (record,) = in_redis.keys("*token:*")
    in_redis.hset(record, mapping={"fetched": int((time.time() + 3600) * 1e6), "hold": int((time.time() + 3600) * 1e6)})
    in_redis.hdel(record, "value")
    forgetful()
    assert get_access_token(soon(1)) == "token-2"


def test_whatever_fetching_raises_others_are_not_held_up(in_redis: redis.Redis) -> None:
    def broken(_: float) -> Fetched:
        raise OverflowError("nobody has thought of this")

    value = Refreshed("broken", broken)
    with pytest.raises(UnavailableError, match="cannot be read"):
        value.get(soon(0.5))
    assert not in_redis.keys("*lock*")


def test_redis_away_each_process_asks_once(given: Provider) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    starts = time.time() + START_SECONDS
    processes = [Callers(given, starts=starts, until=starts + 2, REDIS_URL=nobody) for _ in range(3)]
    results = [process.result() for process in processes]
    assert len(given.calls) == 3
    assert not any(result["failures"] for result in results)


def test_without_redis_a_late_thread_gets_what_was_just_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had found no value before the fetch of another thread ended."""
    monkeypatch.setattr(shared_value, "run", lambda *_, **__: None)
    monkeypatch.setattr(shared_value, "APART_SECONDS", 0)
    calls: list[float] = []

    def fetch(ends: float) -> Fetched:
        calls.append(ends)
        return Fetched("value", time.time() + 3600, time.time() + 3000)

    value = Refreshed("late", fetch)
    kept = value.get(soon())
    assert value._renewing(0).result(10) == kept
    assert len(calls) == 1


def test_redis_and_the_provider_away_each_process_asks_once_a_second(given: Provider) -> None:
    given.answer = lambda _: refused(503)
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    starts = time.time() + START_SECONDS
    result = Callers(given, starts=starts, until=starts + 4, wait=0.5, REDIS_URL=nobody).result()
    assert set(result["failures"]) - {"partner-timeout"} == {"partner-unavailable"}
    assert 2 <= len(given.calls) <= 5


def test_redis_emptied_costs_a_call_at_most(given: Provider, in_redis: redis.Redis) -> None:
    assert get_access_token() == "token-1"
    in_redis.flushdb()
    assert get_access_token() == "token-1"
    forgetful()
    assert get_access_token() == "token-2"


def test_a_key_that_is_gone_costs_a_call(given: Provider, settings: Settings) -> None:
    assert get_access_token() == "token-1"
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    shared_value._cipher.cache_clear()
    forgetful()
    assert get_access_token() == "token-1"
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [], "a third"
    shared_value._cipher.cache_clear()
    forgetful()
    assert get_access_token(soon(5)) == "token-2"
    shared_value._cipher.cache_clear()


# Secrets


def test_no_secret_is_to_be_seen_anywhere(
    given: Provider, in_redis: redis.Redis, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    secrets = ["token-1", "s3cret", "s3cret%3A", "czNjcmV0", settings.OAUTH_CLIENT_ID]
    with caplog.at_level(logging.DEBUG):
        held = tokens._token(*tokens._configuration()).get(soon())
        given.answer = lambda _: refused(503)
        tokens.reject("token-1")
        with pytest.raises(Problem) as caught:
            get_access_token(soon(1.5))
    kept = b"".join(key + (in_redis.dump(key) or b"") for key in map(bytes, in_redis.scan_iter()))
    told = [caplog.text, repr(held), str(caught.value.detail), repr(caught.value), kept.decode("latin1")]
    assert not [(secret, text) for secret in secrets for text in told if secret in text]
    assert caplog.text  # something was said


def test_refreshed_says_when_there_is_nothing(in_redis: redis.Redis) -> None:
    def fail(_: float) -> Fetched:
        raise FetchError("no")

    with pytest.raises(UnavailableError, match="no"):
        Refreshed("nothing", fail).get(soon(0.1))


def test_metrics_tell_refreshes(given: Provider) -> None:
    def count(outcome: str) -> float:
        return float(metrics._token_refreshes.labels(outcome)._value.get())

    before = count("refreshed"), count("refused")
    get_access_token()
    forgetful()
    get_access_token()
    assert (count("refreshed") - before[0], count("refused") - before[1]) == (1, 0)
