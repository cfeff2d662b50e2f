"""The front door: counts each call against its client's limit, and serves cached pages without Django.

Limits and pages cost one round trip to Redis, which all requests of one tick share. Django answers everything else. Its
first response to an address shows which page the address means, so only Django interprets queries. A page in this
process's memory serves as long as the catalogue's generation, read in that round trip, is the page's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache

from django.conf import settings

from accounts.authentication import cached_caller, is_checked, looks_like_jwt, token_in
from farmlokal.edge.asgi_types import Message, Send
from farmlokal.edge.batching import ADMIT_BATCH, Admissions
from farmlokal.edge.flights import PageFlight, PageFlights
from farmlokal.edge.local_pages import LocalPage, LocalPages
from farmlokal.edge.request import EdgeRequest
from farmlokal.observability import metrics
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.client_identity import client_of
from farmlokal.ratelimit.limiter import Policy
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.scripts import DELETE_KEY
from products.catalogue_cache import catalogue_cache

Django = Callable[[EdgeRequest, Send], Awaitable[None]]


class Edge:
    def __init__(self, django: Django) -> None:
        self._django = django
        self._redis = AsyncClient(settings.REDIS_URL, [ADMIT_BATCH], (DELETE_KEY, [catalogue_cache.generation_key]))
        self._admissions = Admissions(self._redis)
        self._anonymous = limiter.anonymous_policy()
        self._token_checks = limiter.LocalBuckets()
        self._has_proxies = settings.TRUSTED_PROXY_HOPS > 0
        self._pages = LocalPages()
        self._flights = PageFlights()

    def start(self) -> None:
        """Connects to Redis; otherwise the first request would."""
        self._redis.start()

    async def __call__(self, request: EdgeRequest) -> None:
        if request.route.is_rate_limited:
            await self._answer_limited(request)
        elif request.route.is_cors_open and request.is_preflight:
            await request.answer_preflight()
        else:
            await self._django(request, request.forward)

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
        return _client_of(request.peer, request.headers.get(b"x-forwarded-for", b"") if self._has_proxies else b"")

    async def _check_token(self, request: EdgeRequest, authorization: str) -> None:
        """Django finds the caller and counts the call.

        A check costs a thread and a signature, so each address may make a limited number of them. A valid token gives
        its check back: it works even from an address that has used up the anonymous limit.
        """
        if not self._anonymous or is_checked(authorization):
            await self._django(request, request.forward)
            return
        client = self._client_address(request)
        decision = self._token_checks.decide(client, limiter.TOKEN_CHECKS)
        if decision.is_refused:
            request.admission = request.admission._replace(decision=decision)
            await request.refuse(decision)
            return
        await self._django(request, request.forward)
        if is_checked(authorization):
            self._token_checks.give_back(client, limiter.TOKEN_CHECKS)

    async def _admit(self, request: EdgeRequest, policy: Policy | None, client: str) -> None:
        known = self._pages.address(request.address) if request.is_shareable else None
        page = self._pages.page(known.page_key) if known else None
        known_generation = page.generation if page and page.is_fresh else ""
        page_key = known.page_key if known else ""
        admission = request.admission = await self._admissions.ask(policy, client, page_key, known_generation)
        if admission.decision and admission.decision.is_refused:
            await request.refuse(admission.decision)
            return
        if request.is_preflight:
            await request.answer_preflight()
            return
        if known and admission.page:
            page = self._pages.put(known.page_key, admission.page)
        if known and page and self._is_current(page, request):
            is_fresh = page.is_fresh
            if is_fresh or request.address in self._flights:
                await request.serve(known, page, "hit" if is_fresh else "stale")
                return
        request.state.local_page = page.as_of_now() if page else None
        await self._join_flight(request)

    async def _join_flight(self, request: EdgeRequest) -> None:
        """Wait for a request that asks Django for the same page, or ask Django."""
        while request.is_shareable and (flight := self._flights.get(request.address)):
            await flight.landed.wait()
            known = self._pages.address(request.address)
            if not (flight.page and known):
                break  # Django's answer was no page, so each request gets its own
            if flight.began_at >= request.state.arrived_at or self._is_current(flight.page, request):
                await request.serve(known, flight.page, flight.result)
                return
        flight = self._flights.begin(request.address) if request.is_shareable else None
        try:
            await self._ask_django(request, flight)
        finally:
            if flight:
                self._flights.land(request.address, flight)

    @staticmethod
    def _is_current(page: LocalPage, request: EdgeRequest) -> bool:
        return page.generation == request.admission.generation != ""

    async def _ask_django(self, request: EdgeRequest, flight: PageFlight | None) -> None:
        async def send(message: Message) -> None:
            if flight and message["type"] == "http.response.start":
                if served := request.state.served:
                    flight.page = self._pages.learn(request.address, served, message["headers"])
                    flight.result = served.result
                self._flights.land(request.address, flight)  # the others do not wait for a client that reads slowly
            await request.forward(message)

        request.state.is_counted = True
        metrics.count_cost(request.route.template or None, 0, request.admission.commands)
        await self._django(request, send)


@lru_cache(maxsize=4096)
def _client_of(peer: str, forwarded_for: bytes) -> str:
    return client_of(peer, forwarded_for.decode("latin1"))
