"""What a guarded call may come to:

CallError                 no answer that could be used; the text says why, has no secret, and is for logs
├── NotCalledError        nothing was sent; retry_after: seconds until it may be
│   ├── BreakerOpenError  the other side has failed too often (also pybreaker's CircuitBreakerError)
│   └── NoRetryError      too many calls were second attempts already
├── TimedOutError         the deadline is over
├── FailedError           no connection, a 5xx, 408 or 429, or nonsense; retry_after: seconds, where it said
├── RefusedError          it does not take our token, a new one neither
└── RejectedError         it understood, and says no: any other 4xx
"""

from __future__ import annotations

from pybreaker import CircuitBreakerError


class CallError(Exception):
    counts = False  # against the other side

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
    def __init__(self, why: str, *, counts: bool) -> None:
        """counts: the other side had its time; else it was ours that ran out."""
        super().__init__(why)
        self.counts = counts


class FailedError(CallError):
    counts = True

    def __init__(self, why: str, retry_after: float = 0, *, may_pass: bool = True) -> None:
        """may_pass: another attempt may do better."""
        super().__init__(why, retry_after)
        self.may_pass = may_pass


class RefusedError(CallError):
    pass


class RejectedError(CallError):
    pass
