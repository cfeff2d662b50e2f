"""The front door: counts each call against its client's limit, and serves cached pages without Django.

Limits and pages cost one round trip to Redis, which all requests of one tick share. A page in this process's memory
serves as long as the catalogue's generation, read in that round trip, is the page's own. Django answers everything
else. If the page is missing, the round trip has already taken its lock, so Django renders it at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache

from django.conf import settings

from accounts.authentication import cached_caller, is_checked, looks_like_jwt, token_in
from farmlokal.edge.asgi_types import Headers, Response
from farmlokal.edge.batching import SCRIPTS, Admission, Admissions
from farmlokal.edge.flights import PageFlights
from farmlokal.edge.local_pages import LocalPage, LocalPages
from farmlokal.edge.request import EdgeRequest
from farmlokal.edge.shares import LimitedClient
from farmlokal.http.security_headers import NAMES as SECURITY_HEADERS
from farmlokal.observability import metrics
from farmlokal.page_cache.keys import release
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.client_identity import client_of
from farmlokal.ratelimit.limiter import Policy
from farmlokal.redis.async_client import AsyncClient
from farmlokal.traffic.reporter import Reporter
from products.catalogue_cache import catalogue_cache

Django = Callable[[EdgeRequest], Awaitable[Response]]

MAX_CACHED_BYTES = 200  # of a header in memory
PAGE_STATUSES = {200, 304}
# The headers that all pages of a route have, apart from those of the page. No other header of Django is repeated.
HEADERS_OF_ROUTE = {b"cache-control", *(name.lower().encode() for name in SECURITY_HEADERS)}


class Edge:
    def __init__(self, django: Django) -> None:
        self._django = django
        self._redis = AsyncClient(settings.REDIS_URL, SCRIPTS, catalogue_cache.greeting())
        self._admissions = Admissions(self._redis)
        self._anonymous = limiter.anonymous_policy()
        self._token_checks = limiter.LocalBuckets()
        self._has_proxies = settings.TRUSTED_PROXY_HOPS > 0
        self._pages = LocalPages()
        self._flights = PageFlights()
        self._reporter = Reporter()
        self._headers: dict[tuple[str, str], Headers] = {}  # by route and scheme, from Django's first response

    async def start(self) -> None:
        """Does what the first request would wait for: reads files, asks MySQL, connects to Redis."""
        await asyncio.to_thread(release)
        self._redis.start(await asyncio.to_thread(catalogue_cache.first_greeting))
        self._reporter.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._reporter.stop)

    async def __call__(self, request: EdgeRequest) -> None:
        if request.route.is_rate_limited:
            await self._answer_limited(request)
        elif request.route.is_cors_open and request.is_preflight:
            await request.answer_preflight()
        else:
            await request.forward(await self._django(request))

    async def _answer_limited(self, request: EdgeRequest) -> None:
        policy, client = self._anonymous, ""
        if b"authorization" in request.headers:
            authorization = request.header(b"authorization")
            token = token_in(authorization)
            if caller := cached_caller(authorization):
                policy, client = caller.client.policy, caller.client.name_in_limits
            elif token is not None:
                request.is_shareable = False  # an invalid token is a 401, even if the page is cached
                if looks_like_jwt(token):
                    await self._check_token(request, authorization)
                    return
        await self._admit(request, policy, client or self._client_address(request))

    def _client_address(self, request: EdgeRequest) -> str:
        forwarded_for = request.headers.get(b"x-forwarded-for", b"") if self._has_proxies else b""
        find = _cached_client_of if len(forwarded_for) <= MAX_CACHED_BYTES else _client_of
        return find(request.peer, forwarded_for)

    async def _check_token(self, request: EdgeRequest, authorization: str) -> None:
        """Django finds the caller and counts the call.

        A check costs a thread and a signature, so each address may make a limited number of them. A valid token gives
        its check back: it works even from an address that has used up the anonymous limit.
        """
        if not self._anonymous or is_checked(authorization):
            await request.forward(await self._django(request))
            return
        client = self._client_address(request)
        decision = self._token_checks.decide(client, limiter.TOKEN_CHECKS)
        if decision.is_refused:
            request.admission = request.admission._replace(decision=decision)
            await request.refuse(decision, client)
            return
        await request.forward(await self._django(request))
        if is_checked(authorization):
            self._token_checks.give_back(client, limiter.TOKEN_CHECKS)

    async def _admit(self, request: EdgeRequest, policy: Policy | None, client: str) -> None:
        key = request.page_key
        page = self._pages.get(key) if key else None
        limited = (policy, client) if policy else None
        admission = request.admission = await self._admission(limited, "" if page and page.is_fresh else key)
        if admission.decision and admission.decision.is_refused:
            await request.refuse(admission.decision, client)
        elif request.is_preflight:
            await request.answer_preflight()
        elif key:
            await self._answer_with_page(request, key, page)
        else:
            await request.forward(await self._ask_django(request))

    def _admission(self, client: LimitedClient | None, page_key: str) -> Awaitable[Admission]:
        return self._admissions.ask(client, page_key)

    async def _answer_with_page(self, request: EdgeRequest, key: str, page: LocalPage | None) -> None:
        """page: the local copy."""
        admission = request.admission
        headers = self._headers.get(request.headers_key)
        if page and page.is_fresh and page.generation == admission.generation and headers is not None:
            await request.serve(page, "hit", headers)
            return
        if admission.generation and not admission.lookup:  # the local copy was fresh, but is of an older generation
            again = await self._admission(None, key)
            admission = request.admission = again._replace(
                decision=admission.decision, commands=admission.commands + again.commands
            )
        lookup = admission.lookup
        if lookup and lookup.page and lookup.result and headers is not None:
            found = LocalPage(lookup.page)
            self._pages.put(key, found)
            await request.serve(found, lookup.result, headers)
            return
        request.state.lookup = lookup
        request.state.local_page = page.as_of_now() if page else None
        await self._join_flight(request, key)

    async def _join_flight(self, request: EdgeRequest, key: str) -> None:
        """Wait for a request that asks Django for the same page, or ask Django.

        A request with the page's lock never waits: the other one may be waiting for that lock.
        """
        lookup = request.state.lookup
        while not (lookup and lookup.is_locked) and (flight := self._flights.get(key)):
            await flight.landed.wait()
            headers = self._headers.get(request.headers_key)
            if flight.page is None or headers is None:
                break  # Django's answer was no page, so each request gets its own
            is_current = flight.page.generation == request.admission.generation != ""
            if flight.began_at >= request.state.arrived_at or is_current:
                await request.serve(flight.page, flight.result, headers)
                return
        flight = self._flights.begin(key, lookup.at if lookup else time.monotonic())
        try:
            response = await self._ask_django(request)
            served = request.state.served
            if served and served.key == key and response.status in PAGE_STATUSES:
                flight.page, flight.result = LocalPage(served.page), served.result
                self._pages.put(key, flight.page)
                common = [header for header in response.headers if header[0] in HEADERS_OF_ROUTE]
                self._headers[request.headers_key] = common
        finally:
            self._flights.land(key, flight)  # the others do not wait for a client that reads slowly
        await request.forward(response)

    async def _ask_django(self, request: EdgeRequest) -> Response:
        request.state.is_counted = True
        metrics.count_cost(request.route.template or None, 0, request.admission.commands)
        return await self._django(request)


def _client_of(peer: str, forwarded_for: bytes) -> str:
    return client_of(peer, forwarded_for.decode("latin1"))


_cached_client_of = lru_cache(maxsize=4096)(_client_of)
