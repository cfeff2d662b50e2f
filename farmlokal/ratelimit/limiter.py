"""The rate limit of the API: who a client is, and GCRA (a token bucket) in one script, by Redis's clock.

A client may call `quota` times at once, and regains one call every window / quota. A call that is refused costs
nothing. Where Redis is away, each process counts by itself. The fields are those of
draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

import ipaddress
import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings

from farmlokal.http.problems import problem_response
from farmlokal.observability import metrics
from farmlokal.recent import Recent
from farmlokal.redis.client import run
from farmlokal.redis.scripts import key, load
from farmlokal.request_state import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.http import HttpRequest, HttpResponseBase

LIMITED = ("/products", "/categories", "/states")
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
        return f"At most {quota} calls in {seconds} s; try again in {self.retry_after} s."

    @property
    def header(self) -> str:
        return f'"{self.policy.name}";r={max(self.remaining, 0)};t={self.retry_after}'


class LocalBuckets:
    """The same arithmetic in this process, for the clients that were here last: from where Redis has left them."""

    def __init__(self) -> None:
        self._ends: Recent[str, int] = Recent(MAX_LOCAL_CLIENTS)

    def decide(self, client: str, policy: Policy, now: int | None = None) -> Decision:
        """now: microseconds."""
        now = time.monotonic_ns() // 1000 if now is None else now
        interval = policy.interval
        ends = max(self._ends.get(client) or now, now)
        spare = now + policy.quota * interval - ends
        if spare < interval:
            return Decision(policy, -1, interval - spare)
        self._ends.put(client, ends + interval)
        remaining = spare // interval - 1
        return Decision(policy, remaining, (remaining + 2) * interval - spare)

    def give_back(self, client: str, policy: Policy) -> None:
        """Undo one call that was decided."""
        if ends := self._ends.get(client):
            self._ends.put(client, ends - policy.interval)

    def note(self, client: str, decision: Decision) -> None:
        """Where Redis is silent for a moment, nobody has a new burst."""
        policy, remaining, wait = decision
        interval = policy.interval
        spare = (max(remaining, 0) + 1) * interval - wait
        self._ends.put(client, time.monotonic_ns() // 1000 + policy.quota * interval - spare)


buckets = LocalBuckets()

# For each address in each process, where there is an anonymous limit: bad tokens, and checks that are under way.
TOKEN_CHECKS = Policy("tokens", 120, 60)


def anonymous() -> Policy | None:
    return Policy("anonymous", *settings.RATE_LIMIT_ANONYMOUS) if settings.RATE_LIMIT_ANONYMOUS else None


def is_limited(path: str) -> bool:
    return path.startswith(LIMITED)


def key_of(policy: Policy, client: str) -> str:
    return key("limit", policy.name, client)


def read(policy: Policy, client: str, calls: int, answer: Sequence[int] | None) -> list[Decision]:
    """One for each call of a client: by what limit() said of all, or, where it could not, by what this process says."""
    name = f"{policy.name}:{client}"
    if answer is None or answer[0] == CANNOT_WRITE:
        metrics.count_local_limit(calls)
        return [buckets.decide(name, policy) for _ in range(calls)]
    room, wait = answer
    found = [Decision(policy, max(room - call, -1), wait) for call in range(1, calls + 1)]
    buckets.note(name, found[-1])
    return found


def decide(policy: Policy, client: str) -> Decision:
    (decision,) = read(policy, client, 1, run(COUNT, [key_of(policy, client)], [policy.quota, policy.interval, 1]))
    return decision


class RateLimitMiddleware:
    """For what no edge has counted: under a WSGI server, and where only Django can tell who calls."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        state = state_of(request)
        policy, client = state.limited_as or (anonymous(), client_of_request(request))
        if not policy or not is_limited(request.path) or state.is_counted:
            return self.get_response(request)
        decision = decide(policy, client)
        if decision.is_refused:
            metrics.count_refusal(policy.name)
            response: HttpResponseBase = problem_response(request, "rate-limited", decision.detail)
            response["Retry-After"] = str(decision.retry_after)
        else:
            response = self.get_response(request)
        response["RateLimit-Policy"] = policy.header
        response["RateLimit"] = decision.header
        return response


def client_of_request(request: HttpRequest) -> str:
    return client_of(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))


def client_of(peer: str, forwarded_for: str) -> str:
    """The address a request came from, by the entry of X-Forwarded-For that the outermost proxy we trust has put
    there. What stands further left is whatever the client sent. IPv6: the network (/64) of a household."""
    hops = settings.TRUSTED_PROXY_HOPS
    entries = forwarded_for.split(",") if hops else []
    claimed = _address(entries[-hops].strip()) if 0 < hops <= len(entries) else None
    return claimed or _address(peer) or peer


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    """As 192.0.2.1 or 2001:db8::/64, without ports and brackets; None where it is no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))
    return str(address)
