"""The guarded client: what is tried again and when, and what goes out with a call."""

from __future__ import annotations

import itertools
import json
import logging
import statistics
import time
from http import HTTPMethod
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.wrappers import Response

from dev.testing.partner import FAILURES_TO_OPEN
from dev.testing.token_provider import serving
from integrations.client import Client, Timed
from integrations.exceptions import (
    BreakerOpenError,
    FailedError,
    NoRetryError,
    RefusedError,
    RejectedError,
    TimedOutError,
)
from integrations.tests.memory import clean_slate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_httpserver import HTTPServer
    from werkzeug.wrappers import Request

    from farmlokal.outbound.client import Answer

SECONDS = 1.0


class Other:
    """The other side: answers in turn as it is told to, the last one again and again."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("/")
        self.answers: list[Response] = [Response("{}")]
        self.requests: list[Request] = []
        self.times: list[float] = []
        server.expect_request("/").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        self.times.append(time.monotonic())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


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
def other() -> Iterator[Other]:
    clean_slate()
    with serving() as server:
        yield Other(server)


@pytest.fixture
def client() -> Client:
    tokens = Tokens()
    return Client("test", tokens.get, tokens.reject, lambda: SECONDS)


def read(answer: Answer) -> Any:
    return json.loads(answer.body)


def ask(client: Client, other: Other, method: HTTPMethod = HTTPMethod.GET, seconds: float = SECONDS, **how: Any) -> Any:
    return client.request(method, other.url, read, ends=time.monotonic() + seconds, **how)


def failing(status: int, after: str = "") -> Response:
    return Response("", status, {"Retry-After": after} if after else {})


def test_what_goes_out(client: Client, other: Other) -> None:
    assert ask(client, other, headers={"X-Mine": "1"}) == {}
    (request,) = other.requests
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["X-Mine"] == "1"
    assert SECONDS * 1000 - 200 < int(request.headers["X-Request-Timeout-Ms"]) <= SECONDS * 1000


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_tried_again(client: Client, other: Other, status: int) -> None:
    other.answers = [failing(status), failing(status), Response('{"third": true}')]
    assert ask(client, other) == {"third": True}
    first, *_, last = [int(request.headers["X-Request-Timeout-Ms"]) for request in other.requests]
    assert last < first


def test_three_attempts_are_all(client: Client, other: Other) -> None:
    other.answers = [failing(500)]
    with pytest.raises(FailedError, match="it answers 500"):
        ask(client, other)
    assert len(other.requests) == 3


@pytest.mark.parametrize(("status", "kind"), [(400, RejectedError), (404, RejectedError), (403, RefusedError)])
def test_a_refusal_is_not_tried_again(client: Client, other: Other, status: int, kind: type[Exception]) -> None:
    other.answers = [failing(status)]
    with pytest.raises(kind):
        ask(client, other)
    assert len(other.requests) == 1


def test_a_redirect_is_not_followed_and_not_tried_again(client: Client, other: Other) -> None:
    other.answers = [Response("", 302, {"Location": "/elsewhere"})]
    with pytest.raises(FailedError, match="it answers 302"):
        ask(client, other)
    assert len(other.requests) == 1


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
def test_only_what_is_safe_twice_is_sent_twice(
    client: Client, other: Other, method: HTTPMethod, headers: dict[str, str], attempts: int
) -> None:
    other.answers = [failing(503)]
    with pytest.raises(FailedError):
        ask(client, other, method, headers=headers, body=b"{}")
    assert len(other.requests) == attempts


def test_retry_after_is_obeyed_within_the_deadline(client: Client, other: Other) -> None:
    other.answers = [failing(503, "1"), Response("{}")]
    ask(client, other, seconds=3)
    assert 1 <= other.times[1] - other.times[0] < 2.5


@pytest.mark.parametrize("asked", ["2", "3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_an_attempt_after_the_deadline_is_none(client: Client, other: Other, asked: str) -> None:
    other.answers = [failing(429, asked)]
    began = time.monotonic()
    with pytest.raises(FailedError) as caught:
        ask(client, other)
    assert time.monotonic() - began < 0.3
    assert len(other.requests) == 1
    assert caught.value.retry_after >= 2


def test_an_attempt_that_cannot_finish_is_none(client: Client, other: Other) -> None:
    """There is time left, but less than the attempt before has taken."""

    def slowly(answer: Answer) -> Any:
        time.sleep(0.6)
        raise FailedError("its answer is not JSON")

    with pytest.raises(FailedError):
        client.request(HTTPMethod.GET, other.url, slowly, ends=time.monotonic() + SECONDS)
    assert len(other.requests) == 1


def test_pauses_are_of_full_jitter(client: Client, other: Other) -> None:
    pauses = []
    for _ in range(30):
        client.breaker.reset()
        other.times.clear()
        other.answers = [failing(500), Response("{}")]
        ask(client, other)
        pauses.append(other.times[1] - other.times[0])
    assert min(pauses) < 0.04
    assert statistics.median(pauses) < 0.1
    assert max(pauses) > 0.05


def test_a_revoked_token_is_replaced_once(client: Client, other: Other) -> None:
    other.answers = [failing(401), Response("{}")]
    assert ask(client, other) == {}
    assert [request.headers["Authorization"] for request in other.requests] == ["Bearer token-1", "Bearer token-2"]
    other.answers = [failing(401)]
    with pytest.raises(RefusedError):
        ask(client, other)
    assert len(other.requests) == 4


def test_that_everybodys_token_is_revoked_is_no_outage(client: Client, other: Other) -> None:
    other.answers = [failing(401)]
    for _ in range(2 * FAILURES_TO_OPEN):
        with pytest.raises(RefusedError):
            ask(client, other)
    other.answers = [Response("{}")]
    assert ask(client, other) == {}


def test_in_an_outage_second_attempts_are_a_tenth_at_most(client: Client, other: Other) -> None:
    other.answers = [failing(500)]
    asked = 0
    while client.breaker.state == "closed":
        with pytest.raises(FailedError):
            ask(client, other)
        asked += 1
    assert len(other.requests) == FAILURES_TO_OPEN
    assert len(other.requests) <= 1.1 * asked
    with pytest.raises(BreakerOpenError):
        ask(client, other)
    assert len(other.requests) == FAILURES_TO_OPEN


def test_who_may_not_try_again_is_told_of_the_first_failure(client: Client, other: Other) -> None:
    for _ in range(2):
        client.breaker.call(lambda: Timed(None, 0), is_retry=True)
    with pytest.raises(NoRetryError):
        client.breaker.call(lambda: Timed(None, 0), is_retry=True)
    other.answers = [failing(500)]
    with pytest.raises(FailedError, match="500"):
        ask(client, other)
    assert len(other.requests) == 1


def test_no_time_is_nobodys_fault(client: Client, other: Other) -> None:
    for _ in range(2 * FAILURES_TO_OPEN):
        with pytest.raises(TimedOutError):
            ask(client, other, seconds=0.01)
    assert not other.requests
    assert ask(client, other) == {}


def test_no_secret_is_logged(client: Client, other: Other, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for answers in ([failing(500)], [failing(401)]):
        other.answers = answers
        with pytest.raises((FailedError, RefusedError)):
            ask(client, other)
    assert "call_failed" in caplog.text
    assert "token-" not in caplog.text
