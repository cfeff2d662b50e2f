"""Errors of a guarded call.

CallError                 no usable answer; the text is for logs and holds no secret
├── NotCalledError        nothing was sent; retry_after: seconds until a call may go out
│   ├── BreakerOpenError  the service has failed too often (also pybreaker's CircuitBreakerError)
│   └── NoRetryError      too many calls were retries already
├── TimedOutError         the deadline is over
├── FailedError           no connection, 5xx, 408, 429, or an unreadable answer; retry_after: seconds, if given
├── TokenRefusedError     the service does not accept our token, nor a new one
└── RejectedError         any other 4xx
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pybreaker import CircuitBreakerError

# For the breaker. rejected: the service works but refuses this call. nothing: says nothing about the service.
Outcome: TypeAlias = Literal["good", "bad", "rejected", "nothing"]


class CallError(Exception):
    outcome: Outcome = "nothing"

    def __init__(self, why: str, retry_after: float = 0) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class NotCalledError(CallError):
    pass


class BreakerOpenError(NotCalledError, CircuitBreakerError):
    pass


class NoRetryError(NotCalledError):
    pass


class TimedOutError(CallError):
    def __init__(self, why: str, *, is_fault: bool) -> None:
        """is_fault: the service had enough time; otherwise we had too little left."""
        super().__init__(why)
        self.outcome = "bad" if is_fault else "nothing"


class FailedError(CallError):
    outcome = "bad"

    def __init__(self, why: str, retry_after: float = 0, *, may_pass: bool = True) -> None:
        """may_pass: another attempt may succeed."""
        super().__init__(why, retry_after)
        self.may_pass = may_pass


class TokenRefusedError(CallError):
    outcome = "rejected"


class RejectedError(CallError):
    outcome = "rejected"
