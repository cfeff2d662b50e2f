"""One round trip to Redis for all waiting requests: their limits, the catalogue's generation, the missing pages."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import structlog

from farmlokal.page_cache.cache import LOCK_SECONDS, coalesce_ms, lock_of
from farmlokal.page_cache.pages import Lookup, unpacked
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.limiter import Decision, Policy
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.async_connection import RedisAwayError
from farmlokal.redis.client import Outages
from farmlokal.redis.scripts import load
from products.catalogue_cache import catalogue_cache

LimitedClient = tuple[Policy, str]

logger = structlog.get_logger(__name__)

MAX_BATCH = 64  # Redis does nothing else meanwhile

ADMIT_BATCH = load(__file__, "admit_batch.lua")


class Admission(NamedTuple):
    decision: Decision | None = None  # None: there is no limit
    generation: str = ""  # the current one; "": no cached page is valid
    lookup: Lookup | None = None  # of the wanted page; the first request of the batch that wants it has the lock
    commands: int = 0  # to Redis: 1 for the first request of a batch


NOT_LIMITED = Admission()


class _Waiting(NamedTuple):
    client: LimitedClient | None
    page_key: str  # "": no page is wanted
    admission: asyncio.Future[Admission]


class _Reply(NamedTuple):
    generation: str = ""
    buckets: Sequence[int] | None = None  # room and wait per client; None: Redis is away
    lookups: Mapping[str, Lookup] = MappingProxyType({})  # by page key


class _Batch(NamedTuple):
    """calls: by client. pages: by key, with the client and the number of the call that wants the page first."""

    calls: Counter[LimitedClient]
    pages: dict[str, tuple[LimitedClient | None, int]]

    @classmethod
    def of(cls, waiting: Sequence[_Waiting]) -> _Batch:
        batch = cls(Counter(), {})
        for client, page_key, _ in waiting:
            if client:
                batch.calls[client] += 1
            if page_key:
                batch.pages.setdefault(page_key, (client, batch.calls[client] if client else 0))
        return batch

    def keys(self) -> list[str]:
        buckets = (limiter.key_of(*client) for client in self.calls)
        pages = (name for page_key in self.pages for name in (page_key, lock_of(page_key)))
        return [catalogue_cache.generation_key, catalogue_cache.writers_key, *buckets, *pages]

    def arguments(self, owner: str) -> list[str | int]:
        numbers = {client: number for number, client in enumerate(self.calls, 1)}
        arguments: list[str | int] = [coalesce_ms(), LOCK_SECONDS * 1000, owner, len(self.calls)]
        for (policy, _), count in self.calls.items():
            arguments += [policy.quota, policy.interval, count]
        for client, call in self.pages.values():
            arguments += [numbers[client] if client else 0, call]
        return arguments


class Admissions:
    def __init__(self, redis: AsyncClient) -> None:
        self._redis = redis
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def ask(self, client: LimitedClient | None, page_key: str) -> asyncio.Future[Admission]:
        """client: None if the request is not limited. page_key: "" if it needs no page."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(client, page_key, loop.create_future())
        self._waiting.append(waiting)
        if self._task is None:
            self._task = loop.create_task(self._settle_all())
        return waiting.admission

    async def _settle_all(self) -> None:
        """One round trip at a time. Requests that arrive meanwhile share the next one."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._settle(batch)
        finally:
            self._task = None

    async def _settle(self, waiting: list[_Waiting]) -> None:
        batch = _Batch.of(waiting)
        reply = await self._ask_redis(batch)
        decisions = {}
        for number, (client, count) in enumerate(batch.calls.items()):
            bucket = reply.buckets[2 * number : 2 * number + 2] if reply.buckets else None
            decisions[client] = iter(limiter.decisions(*client, count, bucket))
        lookups = dict(reply.lookups)
        for number, one in enumerate(waiting):
            decision = next(decisions[one.client]) if one.client else None
            lookup = lookups.get(one.page_key)
            if lookup and lookup.is_locked:
                lookups[one.page_key] = lookup._replace(is_locked=False, owner=uuid.uuid4().hex)  # for the others
            if not one.admission.done():
                one.admission.set_result(Admission(decision, reply.generation, lookup, int(number == 0)))

    async def _ask_redis(self, batch: _Batch) -> _Reply:
        at = time.monotonic()
        try:
            catalogue_cache.pending.check_connection()
            owner = uuid.uuid4().hex if batch.pages and _may_lock() else ""
            answer = await self._redis.run(ADMIT_BATCH, batch.keys(), batch.arguments(owner))
            return _reply(batch, at, owner, *answer)
        except RedisAwayError:
            return _Reply()
        except Exception:  # every request of the batch waits for an answer
            logger.exception("admission_failed")
            return _Reply()


def _may_lock() -> bool:
    """Whether the threads could store a page now, which releases its lock."""
    return not (catalogue_cache.pending.is_pending or Outages.is_away)


def _reply(batch: _Batch, at: float, owner: str, generation: bytes, rooms: list[int], found: list[Any]) -> _Reply:
    if catalogue_cache.pending.is_pending:
        return _Reply(buckets=rooms)
    pages = zip(batch.pages, found[::3], found[1::3], found[2::3], strict=True)
    lookups = {
        page_key: Lookup(
            page_key,
            owner,
            at,
            generation.decode(),
            page=unpacked(stored, left) if stored else None,
            is_locked=bool(is_locked),
        )
        for page_key, stored, left, is_locked in pages
    }
    return _Reply(generation.decode(), rooms, lookups)
