"""Our own access tokens: one call to the provider serves all threads and processes, also while parts fail."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import pytest
import redis
import time_machine
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from accounts import shared_value, tokens
from accounts.shared_state import Value
from accounts.shared_value import SharedValue, UnavailableError
from accounts.tokens import get_access_token
from dev.testing.redis_keys import forget_keys, own_keys, shared_redis
from dev.testing.servers import Daemon, free_port
from dev.testing.token_provider import Provider, issued, provider, refused
from dev.testing.waiting import wait_until
from farmlokal.http.problems import Problem
from farmlokal.redis.client import Outages

NOW = 1_795_000_000.0
LONG_SECONDS = 30  # only a fault takes so long


@pytest.fixture
def redis_client() -> Iterator[redis.Redis]:
    with shared_redis() as client:
        forget_keys()
        yield client


@pytest.fixture
def token_provider(redis_client: redis.Redis, settings: Settings) -> Iterator[Provider]:
    """This process is configured for it, and remembers no token."""
    tokens.reset()
    with provider() as running:
        for name, value in running.settings.items():
            setattr(settings, name, value)
        yield running


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause after a failure is longer than any deadline, so the failure reaches the caller at once."""
    monkeypatch.setattr(shared_value, "APART_SECONDS", 2 * LONG_SECONDS)


def soon(seconds: float = LONG_SECONDS) -> float:
    return time.monotonic() + seconds


def reason(caught: pytest.ExceptionInfo[Problem]) -> str:
    return str(caught.value.__cause__)


def shortest_gap(moments: list[float]) -> float:
    return min(after - before for before, after in itertools.pairwise(moments))


class Callers:
    """A process of dev.testing.token_callers that is ready to begin."""

    def __init__(
        self, token_provider: Provider, *, threads: int = 50, seconds: float = 0, wait: float = 20, redis_url: str = ""
    ) -> None:
        environment = {
            **os.environ,
            **token_provider.settings,
            "DJANGO_SETTINGS_MODULE": "farmlokal.settings",
            "PYTHONPATH": ".",
            "LOG_LEVEL": "ERROR",
            "REDIS_URL": redis_url or os.environ["REDIS_URL"],
        }
        command = [sys.executable, "-m", "dev.testing.token_callers", *map(str, (threads, seconds, wait))]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        return self

    def begin(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        output, _ = self.process.communicate(timeout=60)
        result: dict[str, Any] = json.loads(output)
        return result

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def run_callers(*callers: Callers) -> list[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        for process in callers:
            stack.enter_context(process)
        for process in callers:
            process.begin()
        return [process.result() for process in callers]


# One call


def test_expired_token_is_refreshed_once_for_all_processes(token_provider: Provider) -> None:
    token_provider.answer = lambda number: issued(number, expires_in=1 if number == 1 else 3600)
    assert get_access_token() == "token-1"
    results = run_callers(*(Callers(token_provider) for _ in range(4)))
    assert results == [{"tokens": ["token-2"], "failures": []}] * 4
    assert len(token_provider.calls) == 2


def test_killed_process_is_replaced_by_another(token_provider: Provider) -> None:
    is_called, may_answer = threading.Event(), threading.Event()

    def answer(number: int) -> Any:
        if number == 1:
            is_called.set()
            may_answer.wait(LONG_SECONDS)
        return issued(number)

    token_provider.answer = answer
    others = [Callers(token_provider) for _ in range(4)]
    with Callers(token_provider, threads=1) as first:
        first.begin()
        assert is_called.wait(LONG_SECONDS)
    results = run_callers(*others)
    may_answer.set()
    assert results == [{"tokens": ["token-2"], "failures": []}] * 4
    assert len(token_provider.calls) == 2


def test_late_process_does_not_overwrite_a_newer_token(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_value, "LOCK_SECONDS", 0.2)
    is_fetching, may_go_on, moment = threading.Event(), threading.Event(), time.time()

    def fetch_slowly(_: float) -> Value:
        is_fetching.set()
        may_go_on.wait(LONG_SECONDS)
        return Value("older", moment + 3600, moment + 3000)

    late = SharedValue("value", fetch_slowly)
    quick = SharedValue("value", lambda _: Value("newer", moment + 3600, moment + 3000))
    texts: list[str] = []
    waiting = threading.Thread(target=lambda: texts.append(late.get(soon()).text))
    waiting.start()
    assert is_fetching.wait(LONG_SECONDS)
    newer = quick.get(soon())
    assert newer.text == "newer"
    may_go_on.set()
    waiting.join(LONG_SECONDS)
    assert texts == ["newer"]
    third = SharedValue("value", lambda _: pytest.fail("there is a value"))
    assert third.get(soon()) == newer


def test_ten_thousand_calls_over_three_lifetimes_are_three_calls(token_provider: Provider) -> None:
    ends: dict[str, float] = {}

    def answer(number: int) -> Any:
        ends[f"token-{number}"] = time.time() + 3600
        return issued(number)

    token_provider.answer = answer
    with time_machine.travel(NOW, tick=False) as clock:
        for second in range(10_000):
            clock.move_to(NOW + second)
            assert time.time() < ends[get_access_token()]
    assert len(token_provider.calls) == 3


# The provider fails


def test_token_outlasts_a_provider_that_is_down(token_provider: Provider) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        assert get_access_token() == "token-1"
        token_provider.answer = lambda _: refused(503)
        clock.move_to(NOW + 3600 - 30 - 75)  # due, with any jitter
        for _ in range(60):
            clock.shift(1)
            assert get_access_token(soon(0)) == "token-1"  # without waiting
        wait_until(lambda: get_access_token() == "token-1" and len(token_provider.calls) > 1)
        token_provider.answer = issued
        clock.shift(60)
        assert get_access_token(soon()) != "token-1"


def test_processes_share_failures_and_call_once_a_second(token_provider: Provider) -> None:
    token_provider.answer = lambda _: refused(503)
    results = run_callers(*(Callers(token_provider, threads=8, seconds=5, wait=0.5) for _ in range(4)))
    failures = {code for result in results for code in result["failures"]}
    assert "partner-unavailable" in failures
    assert failures <= {"partner-unavailable", "partner-timeout"}  # the latter while another process calls
    assert not any(result["tokens"] for result in results)
    calls = token_provider.calls
    assert len(calls) >= 2
    assert shortest_gap(calls) > 0.5


@pytest.mark.parametrize("status", [400, 401])
def test_refused_client_pauses_for_a_minute(token_provider: Provider, status: int) -> None:
    token_provider.answer = lambda _: refused(status)
    for _ in range(5):
        tokens.reset()  # another process
        with pytest.raises(Problem) as caught:
            get_access_token(soon())
        assert caught.value.code == "partner-unavailable"
        assert f"answers {status} invalid_client" in reason(caught)
        assert "invalid_client" not in str(caught.value.detail)  # nothing internal leaks
        assert 30 <= int(caught.value.headers["Retry-After"]) <= 60
    assert len(token_provider.calls) == 1


@pytest.mark.parametrize(("header", "least", "most"), [("70", 40, 70), ("9999", 270, 300)])
def test_retry_after_is_obeyed_up_to_five_minutes(token_provider: Provider, header: str, least: int, most: int) -> None:
    token_provider.answer = lambda _: refused(429, {"Retry-After": header})
    with pytest.raises(Problem) as caught:
        get_access_token(soon())
    assert least <= int(caught.value.headers["Retry-After"]) <= most
    assert len(token_provider.calls) == 1


def test_failure_is_retried_within_the_deadline(token_provider: Provider) -> None:
    token_provider.answer = lambda number: refused(503) if number == 1 else issued(number)
    assert get_access_token(soon()) == "token-2"
    assert token_provider.calls[1] - token_provider.calls[0] > 0.5


def test_silent_provider_is_given_up_after_two_seconds(token_provider: Provider) -> None:
    may_answer = threading.Event()
    token_provider.answer = lambda number: (may_answer.wait(2 * LONG_SECONDS), issued(number))[1]
    began = time.monotonic()
    with pytest.raises(Problem) as caught:
        get_access_token(soon(3))
    assert time.monotonic() - began < LONG_SECONDS
    may_answer.set()
    assert (caught.value.code, reason(caught)) == ("partner-timeout", shared_value.TOO_SLOW)


def test_caller_waits_no_longer_than_its_deadline(token_provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_value, "FETCH_SECONDS", 2 * LONG_SECONDS)
    may_answer = threading.Event()
    token_provider.answer = lambda number: (may_answer.wait(2 * LONG_SECONDS), issued(number))[1]
    began = time.monotonic()
    with pytest.raises(Problem):
        get_access_token(soon(0.2))
    assert time.monotonic() - began < LONG_SECONDS
    may_answer.set()


# Answers of providers


@pytest.mark.parametrize(
    ("expires_in", "usable_seconds"),
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
def test_lifetime_of_a_token(token_provider: Provider, expires_in: Any, usable_seconds: float) -> None:
    token_provider.answer = lambda number: issued(number, expires_in=expires_in)
    with time_machine.travel(NOW, tick=False) as clock:
        assert get_access_token() == "token-1"
        clock.move_to(NOW + usable_seconds - 0.1)
        assert get_access_token() == "token-1"
        clock.move_to(NOW + usable_seconds + 0.2)
        assert get_access_token() != "token-1"


@pytest.mark.usefixtures("no_retries")
@pytest.mark.parametrize("expires_in", [0, -1, "0", -(10**400), float("-inf")])
def test_token_that_has_expired_on_arrival_is_an_error(token_provider: Provider, expires_in: Any) -> None:
    token_provider.answer = lambda number: issued(number, expires_in=expires_in)
    with pytest.raises(Problem) as caught:
        get_access_token(soon())
    assert "expired already" in reason(caught)


@pytest.mark.usefixtures("no_retries")
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
def test_answer_without_a_usable_token_is_an_error(token_provider: Provider, members: dict[str, Any]) -> None:
    token_provider.answer = lambda number: issued(number, **members)
    with pytest.raises(Problem) as caught:
        get_access_token(soon())
    assert "access_token" in reason(caught) or "token_type" in reason(caught)


def test_request_to_the_provider(token_provider: Provider, settings: Settings) -> None:
    settings.OAUTH_SCOPE, settings.OAUTH_AUDIENCE = "quotes:read more", "https://partner.example/"
    get_access_token()
    (request,) = token_provider.requests
    assert request.authorization is not None
    # RFC 6749 (2.3.1): form-encode both, then join them.
    assert (request.authorization.username, request.authorization.password) == ("farm+lokal", "s3cret%3A%26%25")
    assert request.form.to_dict() == {
        "grant_type": "client_credentials",
        "scope": "quotes:read more",
        "audience": "https://partner.example/",
    }


def test_empty_scope_and_audience_are_not_sent(token_provider: Provider) -> None:
    get_access_token()
    assert token_provider.requests[0].form.to_dict() == {"grant_type": "client_credentials"}


# The partner rejects a token


def test_only_the_rejected_token_is_replaced(token_provider: Provider) -> None:
    assert get_access_token() == "token-1"
    tokens.reject("token-0")
    assert get_access_token() == "token-1"
    tokens.reject("token-1")
    assert get_access_token() == "token-2"
    tokens.reject("token-1")  # by a slow thread
    assert get_access_token() == "token-2"
    tokens.reset()  # another process
    assert get_access_token() == "token-2"


def test_partner_that_rejects_all_tokens_costs_one_call_a_second(token_provider: Provider) -> None:
    for number in (1, 2, 3):
        assert get_access_token(soon()) == f"token-{number}"
        tokens.reject(f"token-{number}")
    assert shortest_gap(token_provider.calls) > 0.5


def test_rejected_token_is_replaced_without_redis(token_provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    get_access_token()
    monkeypatch.setattr(Outages, "is_silent", True)
    monkeypatch.setattr(Outages, "is_away", True)
    tokens.reject("token-1")
    assert get_access_token() == "token-2"


# Redis


def test_full_redis_is_like_no_redis(token_provider: Provider, redis_alone: Daemon) -> None:
    with redis.Redis.from_url(redis_alone.url) as client:
        client.config_set("maxmemory", 1)
    assert [get_access_token() for _ in range(3)] == ["token-1"] * 3


def test_full_redis_keeps_the_pause_after_a_failure(token_provider: Provider, redis_alone: Daemon) -> None:
    token_provider.answer = lambda _: refused(401)
    with redis.Redis.from_url(redis_alone.url) as client:
        client.config_set("maxmemory", 1)
    for _ in range(3):
        with pytest.raises(Problem):
            get_access_token(soon())
    assert len(token_provider.calls) == 1


def test_clock_that_was_set_back_does_not_prolong_a_pause(token_provider: Provider) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        get_access_token()
        clock.move_to(NOW - 3600)
        tokens.reject("token-1")
        assert get_access_token(soon()) == "token-2"


@pytest.mark.usefixtures("no_retries")
def test_unexpected_error_releases_the_lock(redis_client: redis.Redis) -> None:
    def fail(_: float) -> Value:
        raise OverflowError("a surprise")

    with pytest.raises(UnavailableError, match="cannot be read"):
        SharedValue("broken", fail).get(soon())
    assert not own_keys(redis_client, "lock")


def test_without_redis_each_process_calls_once(token_provider: Provider) -> None:
    closed = f"redis://127.0.0.1:{free_port()}/0"
    results = run_callers(*(Callers(token_provider, seconds=1, redis_url=closed) for _ in range(3)))
    assert not any(result["failures"] for result in results)
    assert len(token_provider.calls) == 3


def test_without_redis_failures_pause_the_process(token_provider: Provider) -> None:
    token_provider.answer = lambda _: refused(503)
    closed = f"redis://127.0.0.1:{free_port()}/0"
    (result,) = run_callers(Callers(token_provider, seconds=4, wait=0.5, redis_url=closed))
    assert set(result["failures"]) - {"partner-timeout"} == {"partner-unavailable"}
    calls = token_provider.calls
    assert len(calls) >= 2
    assert shortest_gap(calls) > 0.5


def test_emptied_redis_costs_at_most_one_call(token_provider: Provider, redis_client: redis.Redis) -> None:
    assert get_access_token() == "token-1"
    forget_keys()
    assert get_access_token() == "token-1"
    tokens.reset()
    assert get_access_token() == "token-2"


def test_changed_secret_key_costs_one_call(token_provider: Provider, settings: Settings) -> None:
    assert get_access_token() == "token-1"
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    tokens.reset()
    assert get_access_token() == "token-1"
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [], "a third"
    tokens.reset()
    assert get_access_token() == "token-2"


# Secrets


def test_secrets_do_not_leak(
    token_provider: Provider, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    secrets = ["token-1", "s3cret", "s3cret%3A", "czNjcmV0", settings.OAUTH_CLIENT_ID]
    with caplog.at_level(logging.DEBUG):
        get_access_token()
        token_provider.answer = lambda _: refused(401)
        tokens.reject("token-1")
        with pytest.raises(Problem) as caught:
            get_access_token(soon())
    stored = b"".join(key + (redis_client.dump(key) or b"") for key in own_keys(redis_client))
    value = Value("token-1", NOW, NOW)
    texts = [caplog.text, repr(value), str(caught.value.detail), repr(caught.value), stored.decode("latin1")]
    assert not [(secret, text) for secret in secrets for text in texts if secret in text]
    assert "fetch_failed" in caplog.text


@pytest.mark.usefixtures("no_retries")
def test_reason_of_a_failure_reaches_the_caller(redis_client: redis.Redis) -> None:
    def fail(_: float) -> Value:
        raise UnavailableError("no")

    with pytest.raises(UnavailableError, match="no"):
        SharedValue("nothing", fail).get(soon())


def test_metrics_count_refreshes(token_provider: Provider) -> None:
    def count(outcome: str) -> float:
        return REGISTRY.get_sample_value("farmlokal_token_refreshes_total", {"outcome": outcome}) or 0

    refreshed, refused_before = count("refreshed"), count("refused")
    get_access_token()
    tokens.reset()
    get_access_token()
    assert (count("refreshed") - refreshed, count("refused") - refused_before) == (1, 0)
