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
import sys
import time
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import orjson
from django.conf import settings
from django.urls import Resolver404, resolve
from django.utils.encoding import escape_uri_path

from accounts.authentication import is_checked, known_caller, looks_like_a_jwt, token_in
from farmlokal.edge import cors
from farmlokal.edge.batching import ADMIT, Admission, Admissions
from farmlokal.edge.local_pages import Held, Pages
from farmlokal.edge.uploads import has_body
from farmlokal.http.conditional import is_not_modified
from farmlokal.http.problems import CONTENT_TYPE as PROBLEM_CONTENT_TYPE
from farmlokal.http.problems import problem_document
from farmlokal.observability import logs, metrics
from farmlokal.page_cache.pages import Result, Served
from farmlokal.ratelimit import limiter
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.scripts import FORGET
from farmlokal.request_state import KEY
from products.page_cache import catalogue_cache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from farmlokal.edge.local_pages import Headers
    from farmlokal.ratelimit.limiter import Decision, Policy

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_ADDRESSES = 10_000
MAX_QUERY_BYTES = 2048  # a longer one is read by Django each time
MAX_PATH_LENGTH = 200  # no route of ours is longer
MAX_PAGES_BYTES = 32 * 1024 * 1024  # in each process

# Of the headers of Django's answer, those that every answer at the same address has. No other is ever repeated.
OF_AN_ADDRESS = {
    *(b"cache-control", b"strict-transport-security"),
    *(b"x-content-type-options", b"x-frame-options", b"referrer-policy", b"cross-origin-opener-policy"),
}

X_CACHE = {result: (b"x-cache", result.encode()) for result in get_args(Result)}

tick = metrics.Tick(then=sys.stdout.flush)


class Address(NamedTuple):
    """What a request line and a host mean."""

    key: str  # of the page
    headers: Headers  # those that every answer there has


class Flight:
    """A request on its way to Django, and others that wait for what it brings."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.landed = asyncio.Event()
        self.brought: tuple[Held, Result] | None = None


class Visit:
    """One request as the edge sees it."""

    def __init__(self, scope: Scope) -> None:
        self.came = time.monotonic()
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.peer: str = (scope.get("client") or ("",))[0]
        found: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            found[name] = found[name] + b"," + value if name in found else value
        self.headers = found
        self.request_id = logs.request_id_of(self.header(b"x-request-id"))
        # One whose answer others may have too. Not with a body, which they would wait for. Django checks If-Match.
        self.is_read = self.method in {"GET", "HEAD"} and not has_body(scope) and b"if-match" not in found
        self.address = self.path, scope["query_string"], found.get(b"host"), scope["scheme"]

    @property
    def is_preflight(self) -> bool:
        return (
            self.method == "OPTIONS" and b"access-control-request-method" in self.headers and b"origin" in self.headers
        )

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin1")


class Edge:
    def __init__(self, django: Application) -> None:
        self.django = django
        self.redis = AsyncClient(settings.REDIS_URL, [ADMIT], (FORGET, [catalogue_cache.generation_key]))
        self.admissions = Admissions(self.redis)
        self.anonymous = limiter.anonymous()
        self.token_checks = limiter.LocalBuckets()
        self.has_proxies = settings.TRUSTED_PROXY_HOPS > 0
        self.addresses: OrderedDict[tuple[Any, ...], Address] = OrderedDict()
        self.pages = Pages(MAX_PAGES_BYTES)
        self.flights: dict[tuple[Any, ...], Flight] = {}

    def start(self) -> None:
        """Connects to Redis, which the first request would do otherwise."""
        self.redis.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not cors.is_open(scope["path"]):
            await self.django(scope, receive, send)
            return
        visit = Visit(scope)
        if not limiter.is_limited(visit.path):
            if visit.is_preflight:
                await answer_preflight(visit, Admission(None, "", None, 0), send)
            else:
                await self.django(scope, receive, send)
            return
        policy, client = self.limited_as(visit)
        if client is None:
            await self.check_token(visit, receive, send)
            return
        address, held = self.recall(visit) if visit.is_read else (None, None)
        known = held.page.generation if held and time.monotonic() < held.fresh_until else ""
        admission = await self.admissions.ask(policy, client, address.key if address else "", known)
        decision = admission.decision
        if decision and decision.is_refused:
            await refuse(visit, admission, decision, send)
            return
        if visit.is_preflight:
            await answer_preflight(visit, admission, send)
            return
        if address and admission.page:
            held = Held(admission.page)
            self.pages.put(address.key, held)
        if address and held and admission.generation and held.page.generation == admission.generation:
            is_fresh = time.monotonic() < held.fresh_until
            if is_fresh or visit.address in self.flights:
                await serve(visit, address, held, "hit" if is_fresh else "stale", admission, send)
                return
        scope[KEY].local_page = held and held.as_of_now()
        await self.pass_on(visit, admission, receive, send)

    def limited_as(self, visit: Visit) -> tuple[Policy | None, str | None]:
        """No client: only Django can tell, which counts the call itself then."""
        if b"authorization" in visit.headers:
            authorization = visit.header(b"authorization")
            if caller := known_caller(authorization):
                return caller.client.policy, caller.client.name_in_limits
            token = token_in(authorization)
            visit.is_read = visit.is_read and token is None  # a bad token is a 401, however hot the page
            if token is not None and looks_like_a_jwt(token):
                return None, None
        return self.anonymous, self.client_address(visit)

    def client_address(self, visit: Visit) -> str:
        forwarded_for = visit.headers.get(b"x-forwarded-for", b"") if self.has_proxies else b""
        return _client_of(visit.peer, forwarded_for)

    async def check_token(self, visit: Visit, receive: Receive, send: Send) -> None:
        """Let Django find the caller, and count the call.

        To check a token costs a thread and a signature, so bad tokens have a limit of their own. Good ones take nothing
        from it: a client at an address that has used up the anonymous limit gets its answer.
        """
        authorization = visit.header(b"authorization")
        if not self.anonymous or is_checked(authorization):
            await self.django(visit.scope, receive, send)
            return
        address, policy = self.client_address(visit), limiter.TOKEN_CHECKS
        decision = self.token_checks.decide(address, policy)
        if decision.is_refused:
            await refuse(visit, Admission(decision, "", None, 0), decision, send)
            return
        await self.django(visit.scope, receive, send)
        if is_checked(authorization):
            self.token_checks.give_back(address, policy)

    def recall(self, visit: Visit) -> tuple[Address | None, Held | None]:
        address = self.addresses.get(visit.address)
        if not address:
            return None, None
        self.addresses.move_to_end(visit.address)
        return address, self.pages.get(address.key)

    async def pass_on(self, visit: Visit, admission: Admission, receive: Receive, send: Send) -> None:
        """To Django, or with one who is on the way there already."""
        while visit.is_read and (flight := self.flights.get(visit.address)):
            await flight.landed.wait()
            address = self.addresses.get(visit.address)
            if not (flight.brought and address):
                break  # no page is to be had: everyone gets an answer of his own
            held, result = flight.brought
            if flight.began >= visit.came or (admission.generation and held.page.generation == admission.generation):
                await serve(visit, address, held, result, admission, send)
                return
        flight = Flight()
        if visit.is_read:
            self.flights.setdefault(visit.address, flight)
        try:
            await self.ask_django(visit, flight, admission, receive, send)
        finally:
            self.land(visit, flight)

    def land(self, visit: Visit, flight: Flight) -> None:
        if self.flights.get(visit.address) is flight:
            del self.flights[visit.address]
        flight.landed.set()

    async def ask_django(
        self, visit: Visit, flight: Flight, admission: Admission, receive: Receive, send: Send
    ) -> None:
        async def send_and_learn(message: Message) -> None:
            if message["type"] == "http.response.start":
                if visit.is_read and (served := visit.scope[KEY].served):
                    flight.brought = Held(served.page), served.result
                    self.learn(visit, served, message["headers"])
                self.land(visit, flight)  # nobody waits for a client that reads slowly
                message["headers"] += limits_of(admission.decision)
            await send(message)

        visit.scope[KEY].is_counted = True
        headers = [header for header in visit.scope["headers"] if header[0] != b"x-request-id"]
        visit.scope["headers"] = [*headers, (b"x-request-id", visit.request_id.encode())]
        metrics.count_cost(route_of(visit.path), 0, admission.commands)
        await self.django(visit.scope, receive, send_and_learn)

    def learn(self, visit: Visit, served: Served, headers: Headers) -> None:
        if len(visit.scope["query_string"]) > MAX_QUERY_BYTES:
            return
        own = [header for header in headers if header[0] in OF_AN_ADDRESS]
        self.addresses[visit.address] = Address(served.key, own)
        if len(self.addresses) > MAX_ADDRESSES:
            self.addresses.popitem(last=False)
        if served.page.generation and served.page.left > 0:
            self.pages.put(served.key, Held(served.page))


async def serve(visit: Visit, address: Address, held: Held, result: Result, admission: Admission, send: Send) -> None:
    representation = held.page.representation
    body = representation.body_for(visit.header(b"accept-encoding"))
    if b"if-none-match" in visit.headers and is_not_modified(visit.header(b"if-none-match"), representation.etag):
        headers = [*address.headers, *held.headers(body, is_whole=False), X_CACHE[result]]
        await finish(visit, 304, headers, b"", admission, send, result)
        return
    headers = [*address.headers, *held.headers(body, is_whole=True), X_CACHE[result]]
    await finish(visit, 200, headers, b"" if visit.method == "HEAD" else body, admission, send, result)


async def answer_preflight(visit: Visit, admission: Admission, send: Send) -> None:
    headers = cors.preflight_headers(visit.header(b"access-control-request-method"), visit.header(b"origin"))
    await finish(visit, 204, list(headers), b"", admission, send)


async def refuse(visit: Visit, admission: Admission, decision: Decision, send: Send) -> None:
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
    await finish(visit, 429, headers, b"" if visit.method == "HEAD" else body, admission, send)


async def finish(
    visit: Visit, status: int, headers: Headers, body: bytes, admission: Admission, send: Send, page: str = ""
) -> None:
    headers.append((b"x-request-id", visit.request_id.encode()))
    headers += limits_of(admission.decision)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    route, seconds = route_of(visit.path), time.monotonic() - visit.came
    tick.count(route, visit.method, status, page, seconds)
    metrics.count_cost(route, 0, admission.commands)
    if logs.is_on():
        query = visit.scope["query_string"].decode("latin1")
        logs.log_request(visit.request_id, visit.method, visit.path, query, route, status, seconds, visit.peer)


def limits_of(decision: Decision | None) -> Headers:
    if not decision:
        return []
    return [decision.policy.field, (b"ratelimit", decision.header.encode())]


@lru_cache(maxsize=4096)
def _client_of(peer: str, forwarded_for: bytes) -> str:
    return limiter.client_of(peer, forwarded_for.decode("latin1"))


def route_of(path: str) -> str | None:
    return _route_of(path) if len(path) <= MAX_PATH_LENGTH else None


@lru_cache(maxsize=4096)
def _route_of(path: str) -> str | None:
    try:
        return logs.template_of(resolve(path).route)
    except Resolver404:
        return None
