"""The guarded client for calls to other services: one deadline for all attempts, safe retries, a breaker, a token.

A call is retried if its method is idempotent or it has an Idempotency-Key, if the breaker's shared budget allows it,
and if it can still end in time. Retries wait with full jitter, or as long as Retry-After asks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPMethod, HTTPStatus
from typing import Any, Generic, NamedTuple, TypeVar

import structlog

from farmlokal.outbound import client as outbound
from integrations.breaker.breaker import Breaker
from integrations.exceptions import (
    CallError,
    FailedError,
    NotCalledError,
    RejectedError,
    TimedOutError,
    TokenRefusedError,
)

T = TypeVar("T")

MAX_ATTEMPTS = 3
MAX_PAUSE_SECONDS = 0.1  # before the second attempt; twice as long before the third
MIN_ATTEMPT_SECONDS = 0.02
# Shares of the time that a whole call may take. The breaker counts a slower answer as a failure. A service that had
# less time than its fair share is not to blame for a timeout.
SLOW_SHARE, FAIR_SHARE = 0.75, 0.25
PERMIT_MARGIN_SECONDS = 1.0
IDEMPOTENT = {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS, HTTPMethod.PUT, HTTPMethod.DELETE}  # RFC 9110, 9.2.2
CREDENTIAL_ERRORS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
TIME_LEFT_HEADER = "X-Request-Timeout-Ms"

logger = structlog.get_logger(__name__)


class Timed(NamedTuple, Generic[T]):
    value: T
    seconds: float  # that the service took


class Client:
    """Calls one service.

    token: returns an access token before a deadline. reject: called with a token that the service answered with 401.
    seconds: how long a whole call may take.
    """

    def __init__(
        self, name: str, token: Callable[[float], str], reject: Callable[[str], None], seconds: Callable[[], float]
    ) -> None:
        self.breaker = Breaker(
            name,
            is_slow=lambda timed: timed.seconds > SLOW_SHARE * seconds(),
            permit_seconds=lambda: seconds() + PERMIT_MARGIN_SECONDS,
        )
        self._token = token
        self._reject = reject
        self._seconds = seconds

    def request(
        self,
        method: HTTPMethod,
        url: str,
        read: Callable[[outbound.Answer], T],
        *,
        ends: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        max_bytes: int = outbound.MAX_BODY_BYTES,
    ) -> T:
        """read: turns a 2xx answer into the result, or raises FailedError. ends: the deadline, by time.monotonic.

        Raises a CallError, or an error of the token function.
        """
        headers = headers or {}
        is_retryable = method in IDEMPOTENT or any(name.lower() == "idempotency-key" for name in headers)

        def attempt() -> Timed[T]:
            answer, seconds = self._send_with_token(method, url, ends, headers, body, max_bytes)
            return Timed(read(answer), seconds)

        failures: list[FailedError] = []
        while True:
            began = time.monotonic()
            try:
                return self.breaker.call(attempt, is_retry=bool(failures)).value
            except NotCalledError:
                if not failures:
                    raise
                raise failures[-1] from None
            except FailedError as error:
                failures.append(error)
                pause = _pause(failures, ends, time.monotonic() - began) if is_retryable else None
                logger.warning("call_failed", name=self.breaker.name, reason=str(error), again=pause)
                if pause is None:
                    raise
            except CallError as error:
                logger.warning("call_failed", name=self.breaker.name, reason=str(error), again=None)
                raise
            time.sleep(pause)

    def _send_with_token(self, method: str, url: str, ends: float, *request: Any) -> tuple[outbound.Answer, float]:
        """The answer and its seconds. A revoked token is replaced once."""
        token = self._token(ends)
        answer, seconds = self._send(token, method, url, ends, *request)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._reject(token)
            answer, seconds = self._send(self._token(ends), method, url, ends, *request)
        return _accepted(answer), seconds

    def _send(
        self,
        token: str,
        method: str,
        url: str,
        ends: float,
        headers: Mapping[str, str],
        body: bytes | None,
        max_bytes: int,
    ) -> tuple[outbound.Answer, float]:
        began = time.monotonic()
        left = ends - began
        if left < MIN_ATTEMPT_SECONDS:
            raise TimedOutError("no time was left to call", is_fault=False)
        headers = {
            **headers,
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            TIME_LEFT_HEADER: str(int(left * 1000)),
        }
        try:
            answer = outbound.call(method, url, ends=ends, headers=headers, body=body, max_bytes=max_bytes)
        except outbound.DeadlineExceededError as error:
            raise TimedOutError(str(error), is_fault=left > FAIR_SHARE * self._seconds()) from error
        except outbound.BadAnswerError as error:
            raise FailedError(str(error), may_pass=False) from error
        except outbound.OutboundError as error:
            raise FailedError(str(error)) from error
        return answer, time.monotonic() - began


def _pause(failures: Sequence[FailedError], ends: float, last_seconds: float) -> float | None:
    """Seconds until the next attempt. None if it could not end in time: it may take as long as the last one."""
    if len(failures) == MAX_ATTEMPTS or not failures[-1].may_pass:
        return None
    jitter = random.uniform(0, MAX_PAUSE_SECONDS * 2 ** (len(failures) - 1))  # noqa: S311  # no secret
    pause = max(jitter, failures[-1].retry_after)
    return pause if time.monotonic() + pause + max(last_seconds, MIN_ATTEMPT_SECONDS) < ends else None


def _accepted(answer: outbound.Answer) -> outbound.Answer:
    """Raises the CallError for any status but 2xx."""
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return answer
    if status in CREDENTIAL_ERRORS:
        raise TokenRefusedError(f"it refuses our token ({status})")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in outbound.PASSING_ERRORS:
        raise RejectedError(f"it answers {status}")
    raise FailedError(f"it answers {status}", answer.retry_after, may_pass=status >= HTTPStatus.BAD_REQUEST)
