"""The front door: counts a call against its client's limit, and answers it with a page that is known to be right.

Both cost one round trip to Redis, which the calls of one tick share. A hit, a 304 and a 429 never build a Django
request; whatever else is asked passes to Django unchanged. Which page an address means is learned from Django's first
answer to it, so that queries are read in one place only; the page's bytes may be this process's own copy, as long as
the catalogue's state, read in that round trip, is the one they were made in.

Callers of one address who find no page wait for one of them, whose answer counts for those who were here before it
was begun.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from django.conf import settings
from django.urls import Resolver404, resolve
from django.utils.encoding import escape_uri_path

from farmlokal import logs, metrics, ratelimit
from farmlokal.answers import CONTENT_TYPE
from farmlokal.conditional import is_not_modified
from farmlokal.errors import CONTENT_TYPE as PROBLEM_CONTENT_TYPE
from farmlokal.errors import problem_document
from farmlokal.pipeline import Pipeline, RedisAwayError
from farmlokal.redis import Script
from products import cache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from farmlokal.ratelimit import Decision

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]
    Headers = list[tuple[bytes, bytes]]

MAX_ADDRESSES = 10_000
MAX_QUERY_BYTES = 2048  # a longer one is read by Django each time
MAX_PAGES_BYTES = 32 * 1024 * 1024  # in each process

# What differs from one answer to the next at the same address.
OWN_TO_AN_ANSWER = {
    *(b"content-type", b"content-length", b"content-encoding", b"etag", b"link", b"vary"),
    *(b"x-cache", b"x-request-id", b"ratelimit", b"ratelimit-policy"),
}

# ADMIT limit states writers page | quota interval coalesce known -> {remaining, wait, state, page, ms until it is old}
# Without a quota nothing is counted. Where the page's key is the state's, none is looked for; nor is one of the
# known state. (Not an empty key: that would be on another node of a cluster.)
ADMIT = Script(
    ratelimit.LUA
    + cache.STATE_LUA
    + """
local remaining, wait = 0, 0
if ARGV[1] ~= '0' then
  remaining, wait = limit(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
  if remaining == -1 then return {remaining, wait, '', '', 0} end
end
local now_state = state(KEYS[2], KEYS[3], tonumber(ARGV[3])) or ''
local page, left = '', 0
if KEYS[4] ~= KEYS[2] and now_state ~= '' and now_state ~= ARGV[4] then
  page = redis.call('GET', KEYS[4]) or ''
  local of_state, old_at = string.match(page, '^(%d+) (%d+)\\n')
  if of_state == now_state then
    left = math.floor((tonumber(old_at) - micros()) / 1000)
  else
    page = ''
  end
end
return {remaining, wait, now_state, page, left}
"""
)


class Address(NamedTuple):
    """What a request line and a host mean."""

    key: str  # of the page
    headers: Headers  # those that every answer there has


class Held(NamedTuple):
    page: cache.Page
    fresh_until: float  # by this process's clock


class Flight:
    """A request on its way to Django, and others that wait for what it brings."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.landed = asyncio.Event()
        self.served: cache.Served | None = None
        self.was_cut_short = False  # its client has left


class Visit:
    """One request as the edge sees it."""

    def __init__(self, scope: Scope) -> None:
        self.came = time.monotonic()
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        found: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            found[name] = found[name] + b"," + value if name in found else value
        self.headers = found
        self.request_id = logs.request_id_of(self.header(b"x-request-id"))
        self.address: tuple[Any, ...] = (self.path, scope["query_string"], found.get(b"host"))
        if settings.TRUSTED_PROXY_HOPS:
            self.address += (found.get(b"x-forwarded-host"), found.get(b"x-forwarded-proto"))

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin1")

    @property
    def peer(self) -> str:
        return (self.scope.get("client") or ("",))[0]

    @property
    def is_read(self) -> bool:
        return self.method in {"GET", "HEAD"} and b"authorization" not in self.headers


class Edge:
    def __init__(self, django: Application) -> None:
        self.django = django
        self.redis = Pipeline(settings.REDIS_URL, [ADMIT], (cache.FORGET, [cache.STATE]))
        self.anonymous = ratelimit.anonymous()
        self.addresses: OrderedDict[tuple[Any, ...], Address] = OrderedDict()
        self.pages = Pages(MAX_PAGES_BYTES)
        self.flights: dict[tuple[Any, ...], Flight] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.redis.start()
        if scope["type"] != "http" or not ratelimit.is_limited(scope["path"]):
            await self.django(scope, receive, send)
            return
        visit = Visit(scope)
        address = self.addresses.get(visit.address) if visit.is_read else None
        if address:
            self.addresses.move_to_end(visit.address)
        held = self.pages.get(address.key) if address else None
        decision, state, arrived = await self.admit(visit, address, held)
        if decision and decision.is_refused:
            await refuse(visit, decision, send)
            return
        if address and arrived:
            held = Held(arrived, time.monotonic() + arrived.left)
            self.pages.put(address.key, held)
        if address and held and state and held.page.state == state:
            result: cache.Result = "hit" if time.monotonic() < held.fresh_until else "stale"
            if result == "hit" or visit.address in self.flights:
                await serve(visit, address, held.page, result, decision, send)
                return
        await self.pass_on(visit, state, decision, receive, send)

    async def admit(
        self, visit: Visit, address: Address | None, held: Held | None
    ) -> tuple[Decision | None, str, cache.Page | None]:
        """(what the limiter says, the catalogue's state or "", a page of that state that was not held)."""
        policy, client = self.anonymous, ""
        limit_key, costs = cache.STATE, (0, 0)
        if policy:
            client = ratelimit.client_of(visit.peer, visit.header(b"x-forwarded-for"))
            limit_key, costs = ratelimit.key_of(policy, client), (policy.quota, policy.interval)
        keys = [limit_key, cache.STATE, cache.WRITERS, address.key if address else cache.STATE]
        is_old = held and time.monotonic() >= held.fresh_until
        known = held.page.state if held and not is_old else ""
        try:
            found = await self.redis.run(ADMIT, keys, [*costs, cache.coalesce_ms(), known])
        except RedisAwayError:
            return ratelimit.read(policy, client, None) if policy else None, "", None
        remaining, wait, state, page, left = found
        decision = ratelimit.read(policy, client, (remaining, wait)) if policy else None
        if cache.debt.is_owed:
            return decision, "", None
        return decision, state.decode(), cache.unpacked(page, left) if page else None

    async def pass_on(self, visit: Visit, state: str, decision: Decision | None, receive: Receive, send: Send) -> None:
        """To Django, or with one who is on the way there already."""
        while visit.is_read and (flight := self.flights.get(visit.address)):
            await flight.landed.wait()
            found, address = flight.served, self.addresses.get(visit.address)
            if not (found and address):
                if flight.was_cut_short:
                    continue
                break  # no page is to be had: everyone gets an answer of his own
            if flight.began >= visit.came or (state and found.page.state == state):
                await serve(visit, address, found.page, found.result, decision, send)
                return
        flight = Flight()
        if visit.is_read:
            self.flights.setdefault(visit.address, flight)
        try:
            await self.ask_django(visit, decision, receive, send)
            flight.served = visit.scope.get(cache.SERVED)
        except asyncio.CancelledError:
            flight.was_cut_short = True
            raise
        finally:
            if self.flights.get(visit.address) is flight:
                del self.flights[visit.address]
            flight.landed.set()

    async def ask_django(self, visit: Visit, decision: Decision | None, receive: Receive, send: Send) -> None:
        limits = _encoded(decision.headers()) if decision else []

        async def send_and_learn(message: Message) -> None:
            if message["type"] == "http.response.start":
                if served := visit.scope.get(cache.SERVED):
                    self.learn(visit, served, message["headers"])
                message["headers"] += limits
            await send(message)

        visit.scope[ratelimit.COUNTED] = True
        headers = [header for header in visit.scope["headers"] if header[0] != b"x-request-id"]
        visit.scope["headers"] = [*headers, (b"x-request-id", visit.request_id.encode())]
        metrics.count_cost(route_of(visit.path), 0, 1)
        await self.django(visit.scope, receive, send_and_learn)

    def learn(self, visit: Visit, served: cache.Served, headers: Headers) -> None:
        if not visit.is_read or len(visit.scope["query_string"]) > MAX_QUERY_BYTES:
            return
        common = [header for header in headers if header[0] not in OWN_TO_AN_ANSWER]
        self.addresses[visit.address] = Address(served.key, common)
        if len(self.addresses) > MAX_ADDRESSES:
            self.addresses.popitem(last=False)
        if served.page.state and served.page.left > 0:
            self.pages.put(served.key, Held(served.page, time.monotonic() + served.page.left))


class Pages:
    """Pages by key, the least recently used of which go when there are too many bytes of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._held: OrderedDict[str, Held] = OrderedDict()

    def get(self, key: str) -> Held | None:
        held = self._held.get(key)
        if held:
            self._held.move_to_end(key)
        return held

    def put(self, key: str, held: Held) -> None:
        if key in self._held:
            self._bytes -= _size(self._held.pop(key))
        self._held[key] = held
        self._bytes += _size(held)
        while self._bytes > self._max_bytes:
            self._bytes -= _size(self._held.popitem(last=False)[1])


def _size(held: Held) -> int:
    representation = held.page.representation
    return len(representation.identity) + len(representation.gzipped or b"") + 1000  # and what is around them


async def serve(
    visit: Visit, address: Address, page: cache.Page, result: str, decision: Decision | None, send: Send
) -> None:
    representation = page.representation
    body = representation.body_for(visit.header(b"accept-encoding"))
    headers = [*address.headers, *_encoded(representation.headers(body).items())]
    headers.append((b"x-cache", result.encode()))
    metrics.count_page(result)
    if is_not_modified(visit.headers.get(b"if-none-match", b"").decode("latin1") or None, representation.etag):
        await finish(visit, 304, headers, b"", decision, send)
        return
    headers.append((b"content-type", CONTENT_TYPE.encode()))
    headers.append((b"content-length", str(len(body)).encode()))
    if body is representation.gzipped:
        headers.append((b"content-encoding", b"gzip"))
    await finish(visit, 200, headers, b"" if visit.method == "HEAD" else body, decision, send)


async def refuse(visit: Visit, decision: Decision, send: Send) -> None:
    metrics.count_refusal(decision.policy.name)
    instance = escape_uri_path(visit.path[:1000])
    body = orjson.dumps(problem_document("rate-limited", decision.detail, instance, visit.request_id))
    headers = [
        (b"content-type", PROBLEM_CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"retry-after", str(decision.retry_after).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await finish(visit, 429, headers, b"" if visit.method == "HEAD" else body, decision, send)


async def finish(
    visit: Visit, status: int, headers: Headers, body: bytes, decision: Decision | None, send: Send
) -> None:
    headers.append((b"x-request-id", visit.request_id.encode()))
    if decision:
        headers += _encoded(decision.headers())
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    route, seconds = route_of(visit.path), time.monotonic() - visit.came
    metrics.count_request(route, visit.method, status, seconds)
    metrics.count_cost(route, 0, 1)
    query = visit.scope["query_string"].decode("latin1")
    logs.log_request(visit.request_id, visit.method, visit.path, query, route, status, seconds, visit.peer)


def _encoded(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in headers]


@lru_cache(maxsize=4096)
def route_of(path: str) -> str | None:
    try:
        return logs.template_of(resolve(path).route)
    except Resolver404:
        return None
