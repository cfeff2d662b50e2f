"""GCRA, a token bucket, in one script by Redis's clock.

farmlokal.edge asks it for most requests, and answers them with the 429; middleware.py does so for the others.
A client may call `quota` times at once, and regains one call every window / quota. A refused call costs nothing.
Without Redis each process counts by itself. The fields are those of draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from cachetools import LRUCache
from django.conf import settings

from farmlokal.observability import metrics
from farmlokal.redis.client import run
from farmlokal.redis.scripts import load, spread_key

MAX_LOCAL_CLIENTS = 10_000

COUNT = load(__file__, "count.lua")
CANNOT_WRITE = -2


class Policy:
    """quota calls in window seconds."""

    def __init__(self, name: str, quota: int, window: int) -> None:
        self.name = name
        self.quota = quota
        self.window = window
        # Microseconds that one call costs; rounded up, so that a window never has room for one more.
        self.interval = -(-window * 1_000_000 // quota)
        self.header = f'"{name}";q={quota};w={window}'
        self.field = b"ratelimit-policy", self.header.encode()


class Decision(NamedTuple):
    policy: Policy
    remaining: int  # -1: refused
    wait: int  # microseconds until there is one more

    @property
    def is_refused(self) -> bool:
        return self.remaining < 0

    @property
    def retry_after(self) -> int:
        return max(-(-self.wait // 1_000_000), 1)

    @property
    def detail(self) -> str:
        quota, seconds = self.policy.quota, self.policy.window
        return f"The limit of {quota} calls in {seconds} s is used up; try again in {self.retry_after} s."

    @property
    def header(self) -> str:
        return f'"{self.policy.name}";r={max(self.remaining, 0)};t={self.retry_after}'


class LocalBuckets:
    """The same arithmetic in this process, for its most recent clients. It begins with the last state from Redis."""

    def __init__(self) -> None:
        self._full_at: LRUCache[str, int] = LRUCache(MAX_LOCAL_CLIENTS)  # microseconds of the monotonic clock
        self._lock = threading.Lock()

    def decide(self, client: str, policy: Policy, now: int | None = None) -> Decision:
        """now: microseconds."""
        now = _now() if now is None else now
        interval = policy.interval
        with self._lock:
            full_at = max(self._full_at.get(client, now), now)
            spare = now + policy.quota * interval - full_at
            if spare < interval:
                return Decision(policy, -1, interval - spare)
            self._full_at[client] = full_at + interval
        remaining = spare // interval - 1
        return Decision(policy, remaining, (remaining + 2) * interval - spare)

    def give_back(self, client: str, policy: Policy) -> None:
        """Undo one counted call."""
        with self._lock:
            if client in self._full_at:
                self._full_at[client] -= policy.interval

    def note(self, client: str, decision: Decision) -> None:
        """Copy a bucket from Redis. Otherwise each client would get a new burst when Redis falls silent."""
        policy, remaining, wait = decision
        spare = (max(remaining, 0) + 1) * policy.interval - wait
        with self._lock:
            self._full_at[client] = _now() + policy.quota * policy.interval - spare

    def reset(self) -> None:
        with self._lock:
            self._full_at.clear()


def _now() -> int:
    return time.monotonic_ns() // 1000


buckets = LocalBuckets()

# For each address in each process: its checks of tokens that are bad, or are still being checked.
TOKEN_CHECKS = Policy("tokens", 120, 60)


def anonymous_policy() -> Policy | None:
    return Policy("anonymous", *settings.RATE_LIMIT_ANONYMOUS) if settings.RATE_LIMIT_ANONYMOUS else None


def key_of(policy: Policy, client: str) -> str:
    return spread_key("limit", policy.name, client)


def decisions(policy: Policy, client: str, calls: int, answer: Sequence[int] | None) -> list[Decision]:
    """The decisions for several calls of one client.

    answer: what limit() in gcra.lua returned for all of them. None, or CANNOT_WRITE: this process decides.
    """
    name = f"{policy.name}:{client}"
    if answer is None or answer[0] == CANNOT_WRITE:
        metrics.count_local_limit(calls)
        return [buckets.decide(name, policy) for _ in range(calls)]
    room, wait = answer
    result = [Decision(policy, max(room - call, -1), wait) for call in range(1, calls + 1)]
    buckets.note(name, result[-1])
    return result


def decide(policy: Policy, client: str) -> Decision:
    answer = run(COUNT, [key_of(policy, client)], [policy.quota, policy.interval, 1])
    return decisions(policy, client, 1, answer)[0]
