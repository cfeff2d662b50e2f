"""The guarded client, through which every call to another service goes: one deadline over all of it, retries where they
are safe and affordable, a breaker, a token.

The deadline is the caller's; farmlokal.outbound holds each attempt to it. A second attempt is made where the method or
an Idempotency-Key allows it, where the breaker's shared budget has room, and where it can still end in time: after a
pause of full jitter (or what Retry-After says), with as much time left as the attempt before has taken.
"""

from __future__ import annotations

import random
import time
from http import HTTPMethod, HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import structlog

from accounts.tokens import retry_after
from farmlokal.outbound import client as outbound
from integrations.breaker import Breaker
from integrations.exceptions import (
    CallError,
    FailedError,
    NotCalledError,
    RefusedError,
    RejectedError,
    TimedOutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

MAX_ATTEMPTS = 3
PAUSE_SECONDS = 0.1  # at most, before the second attempt; twice as long before the third
LEAST_SECONDS = 0.02  # that an attempt needs
# Of what a whole call may take: an answer that takes longer is a failure to the breaker; and who had less than that is
# not to blame for being late.
SLOW_SHARE, FAIR_SHARE = 0.75, 0.25
PERMIT_MARGIN_SECONDS = 1.0
IDEMPOTENT = {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS, HTTPMethod.PUT, HTTPMethod.DELETE}  # RFC 9110, 9.2.2
PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
CREDENTIALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
TIME_LEFT = "X-Request-Timeout-Ms"

logger = structlog.get_logger(__name__)


class Called(NamedTuple, Generic[T]):
    value: T
    seconds: float  # that the other side took


class Client:
    """For one other side.

    token: called with a deadline; reject: told of a token that was answered with 401. seconds: what a whole call may
    take, of which each call brings what is left.
    """

    def __init__(
        self, name: str, token: Callable[[float], str], reject: Callable[[str], None], seconds: Callable[[], float]
    ) -> None:
        self.breaker = Breaker(
            name,
            is_slow=lambda called: called.seconds > SLOW_SHARE * seconds(),
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
        """What `read` makes of an answer with a 2xx; it raises a FailedError where that is nonsense.

        ends: the deadline (time.monotonic). Raises a CallError, and whatever getting a token raises.
        """
        given = headers or {}
        is_safe_twice = method in IDEMPOTENT or any(name.lower() == "idempotency-key" for name in given)

        def attempt() -> Called[T]:
            answer, seconds = self._answer(method, url, ends, given, body, max_bytes)
            return Called(read(answer), seconds)

        failures: list[FailedError] = []
        while True:
            began = time.monotonic()
            try:
                return (self.breaker.call_again if failures else self.breaker.call)(attempt).value
            except NotCalledError:
                if not failures:
                    raise
                raise failures[-1] from None
            except FailedError as error:
                failures.append(error)
                pause = _pause(failures, ends, time.monotonic() - began) if is_safe_twice else None
                logger.warning("call_failed", name=self.breaker.name, reason=str(error), again=pause)
                if pause is None:
                    raise
            except CallError as error:
                logger.warning("call_failed", name=self.breaker.name, reason=str(error), again=None)
                raise
            time.sleep(pause)

    def _answer(self, method: str, url: str, ends: float, *how: Any) -> tuple[outbound.Answer, float]:
        """The answer, and the seconds that it took. A token that the other side has revoked is replaced, once."""
        token = self._token(ends)
        answer, seconds = self._send(token, method, url, ends, *how)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._reject(token)
            answer, seconds = self._send(self._token(ends), method, url, ends, *how)
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
        if left < LEAST_SECONDS:
            raise TimedOutError("no time was left to call", counts=False)
        ours = {"Authorization": f"Bearer {token}", "Accept": "application/json", TIME_LEFT: str(int(left * 1000))}
        try:
            answer = outbound.call(method, url, ends=ends, headers={**headers, **ours}, body=body, max_bytes=max_bytes)
        except outbound.DeadlineExceededError as error:
            raise TimedOutError(str(error), counts=left > FAIR_SHARE * self._seconds()) from error
        except outbound.BadAnswerError as error:
            raise FailedError(str(error), may_pass=False) from error
        except outbound.OutboundError as error:
            raise FailedError(str(error)) from error
        return answer, time.monotonic() - began


def _pause(failures: Sequence[FailedError], ends: float, took: float) -> float | None:
    """Seconds until the next attempt; None where there is to be none."""
    if len(failures) == MAX_ATTEMPTS or not failures[-1].may_pass:
        return None
    jitter = random.uniform(0, PAUSE_SECONDS * 2 ** (len(failures) - 1))  # noqa: S311  # no secret
    pause = max(jitter, failures[-1].retry_after)
    return pause if time.monotonic() + pause + max(took, LEAST_SECONDS) < ends else None


def _accepted(answer: outbound.Answer) -> outbound.Answer:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return answer
    if status in CREDENTIALS:
        raise RefusedError(f"it refuses our token ({status})")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in PASSING:
        raise RejectedError(f"it answers {status}")
    asked = retry_after(answer.headers.get("Retry-After", ""))
    raise FailedError(f"it answers {status}", asked, may_pass=status >= HTTPStatus.BAD_REQUEST)
