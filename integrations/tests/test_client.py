"""The guarded client: which calls are retried and when, and what they send."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Iterator
from http import HTTPMethod
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response

from dev.testing.partner import FAILURES_TO_OPEN
from dev.testing.token_provider import serving
from farmlokal.outbound.client import Answer
from integrations.client import Client, Timed
from integrations.exceptions import (
    BreakerOpenError,
    FailedError,
    NoRetryError,
    RejectedError,
    TimedOutError,
    TokenRefusedError,
)
from integrations.tests.memory import reset_all

SECONDS = 10.0  # enough for a busy machine


class Service:
    """Gives its answers in turn, and repeats the last one."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("/")
        self.answers: list[Response] = [Response("{}")]
        self.requests: list[Request] = []
        server.expect_request("/").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Clock:
    """Replaces the client's `time` module: a pause moves the clock."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._shift = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._shift

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._shift += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("integrations.client.time", clock)
    return clock


class Tokens:
    def __init__(self) -> None:
        self.numbers = itertools.count(2)
        self.current = "token-1"

    def get(self, ends: float) -> str:
        return self.current

    def reject(self, token: str) -> None:
        if token == self.current:
            self.current = f"token-{next(self.numbers)}"


@pytest.fixture
def service() -> Iterator[Service]:
    reset_all()
    with serving() as server:
        yield Service(server)


@pytest.fixture
def client() -> Client:
    tokens = Tokens()
    return Client("test", tokens.get, tokens.reject, lambda: SECONDS)


def read(answer: Answer) -> Any:
    return json.loads(answer.body)


def ask(
    client: Client, service: Service, method: HTTPMethod = HTTPMethod.GET, seconds: float = SECONDS, **request: Any
) -> Any:
    return client.request(method, service.url, read, ends=time.monotonic() + seconds, **request)


def failing(status: int, after: str = "") -> Response:
    return Response("", status, {"Retry-After": after} if after else {})


def test_headers_of_a_call(client: Client, service: Service) -> None:
    assert ask(client, service, headers={"X-Mine": "1"}) == {}
    (request,) = service.requests
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["X-Mine"] == "1"
    assert 0 < int(request.headers["X-Request-Timeout-Ms"]) <= SECONDS * 1000


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_temporary_failure_is_retried(client: Client, service: Service, status: int) -> None:
    service.answers = [failing(status), failing(status), Response('{"third": true}')]
    assert ask(client, service) == {"third": True}
    first, *_, last = [int(request.headers["X-Request-Timeout-Ms"]) for request in service.requests]
    assert last < first


def test_there_are_at_most_three_attempts(client: Client, service: Service) -> None:
    service.answers = [failing(500)]
    with pytest.raises(FailedError, match="it answers 500"):
        ask(client, service)
    assert len(service.requests) == 3


@pytest.mark.parametrize(("status", "kind"), [(400, RejectedError), (404, RejectedError), (403, TokenRefusedError)])
def test_refusal_is_not_retried(client: Client, service: Service, status: int, kind: type[Exception]) -> None:
    service.answers = [failing(status)]
    with pytest.raises(kind):
        ask(client, service)
    assert len(service.requests) == 1


def test_redirect_is_neither_followed_nor_retried(client: Client, service: Service) -> None:
    service.answers = [Response("", 302, {"Location": "/elsewhere"})]
    with pytest.raises(FailedError, match="it answers 302"):
        ask(client, service)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("method", "headers", "attempts"),
    [
        (HTTPMethod.POST, {}, 1),
        (HTTPMethod.PATCH, {}, 1),
        (HTTPMethod.POST, {"idempotency-key": "1"}, 3),
        (HTTPMethod.PUT, {}, 3),
        (HTTPMethod.DELETE, {}, 3),
    ],
)
def test_only_idempotent_calls_are_retried(
    client: Client, service: Service, method: HTTPMethod, headers: dict[str, str], attempts: int
) -> None:
    service.answers = [failing(503)]
    with pytest.raises(FailedError):
        ask(client, service, method, headers=headers, body=b"{}")
    assert len(service.requests) == attempts


def test_retry_waits_for_retry_after(client: Client, service: Service, clock: Clock) -> None:
    service.answers = [failing(503, "1"), Response("{}")]
    ask(client, service)
    assert clock.pauses == [1]


@pytest.mark.parametrize("retry_after", ["2", "3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_no_retry_after_the_deadline(client: Client, service: Service, clock: Clock, retry_after: str) -> None:
    service.answers = [failing(429, retry_after)]
    with pytest.raises(FailedError) as caught:
        ask(client, service, seconds=2)
    assert clock.pauses == []
    assert len(service.requests) == 1
    assert caught.value.retry_after >= 2


def test_no_retry_that_cannot_end_in_time(client: Client, service: Service, clock: Clock) -> None:
    """The time left is shorter than the first attempt."""

    def read_slowly(answer: Answer) -> Any:
        clock.sleep(0.6 * SECONDS)
        raise FailedError("its answer is not JSON")

    with pytest.raises(FailedError):
        client.request(HTTPMethod.GET, service.url, read_slowly, ends=time.monotonic() + SECONDS)
    assert len(service.requests) == 1


def test_pauses_have_full_jitter(client: Client, service: Service, clock: Clock) -> None:
    for _ in range(30):
        client.breaker.reset()
        service.answers = [failing(500), Response("{}")]
        ask(client, service)
    assert len(clock.pauses) == 30
    assert 0 <= min(clock.pauses) < 0.05 < max(clock.pauses) <= 0.1


def test_revoked_token_is_replaced_once(client: Client, service: Service) -> None:
    service.answers = [failing(401), Response("{}")]
    assert ask(client, service) == {}
    assert [request.headers["Authorization"] for request in service.requests] == ["Bearer token-1", "Bearer token-2"]
    service.answers = [failing(401)]
    with pytest.raises(TokenRefusedError):
        ask(client, service)
    assert len(service.requests) == 4


def test_refused_tokens_do_not_open_the_breaker(client: Client, service: Service) -> None:
    service.answers = [failing(401)]
    for _ in range(2 * FAILURES_TO_OPEN):
        with pytest.raises(TokenRefusedError):
            ask(client, service)
    service.answers = [Response("{}")]
    assert ask(client, service) == {}


def test_retries_in_an_outage_are_at_most_a_tenth(client: Client, service: Service) -> None:
    service.answers = [failing(500)]
    calls = 0
    while client.breaker.state == "closed":
        with pytest.raises(FailedError):
            ask(client, service)
        calls += 1
    assert len(service.requests) == FAILURES_TO_OPEN
    assert len(service.requests) <= 1.1 * calls
    with pytest.raises(BreakerOpenError):
        ask(client, service)
    assert len(service.requests) == FAILURES_TO_OPEN


def test_call_without_retries_left_raises_its_failure(client: Client, service: Service) -> None:
    for _ in range(2):
        client.breaker.call(lambda: Timed(None, 0), is_retry=True)
    with pytest.raises(NoRetryError):
        client.breaker.call(lambda: Timed(None, 0), is_retry=True)
    service.answers = [failing(500)]
    with pytest.raises(FailedError, match="500"):
        ask(client, service)
    assert len(service.requests) == 1


def test_too_little_time_does_not_open_the_breaker(client: Client, service: Service) -> None:
    for _ in range(2 * FAILURES_TO_OPEN):
        with pytest.raises(TimedOutError):
            ask(client, service, seconds=0.01)
    assert not service.requests
    assert ask(client, service) == {}


def test_no_token_is_logged(client: Client, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for answers in ([failing(500)], [failing(401)]):
        service.answers = answers
        with pytest.raises((FailedError, TokenRefusedError)):
            ask(client, service)
    assert "call_failed" in caplog.text
    assert "token-" not in caplog.text
