"""One round trip to Redis for all waiting requests: their limits, the catalogue's generation, the missing pages."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import structlog

from farmlokal.page_cache.cache import LOCK_SECONDS, coalesce_ms, lock_of
from farmlokal.page_cache.pages import Look, unpacked
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.limiter import Decision, Policy
from farmlokal.redis.async_client import AsyncClient, RedisAwayError
from farmlokal.redis.scripts import load
from products.catalogue_cache import catalogue_cache

LimitedClient = tuple[Policy, str]

logger = structlog.get_logger(__name__)

MAX_BATCH = 64  # Redis does nothing else meanwhile

ADMIT_BATCH = load(__file__, "admit_batch.lua")


class Admission(NamedTuple):
    decision: Decision | None = None  # None: there is no limit
    generation: str = ""  # the current one; "": no cached page is valid
    look: Look | None = None  # at the wanted page; its lock is for the first request of the batch that wants the page
    commands: int = 0  # to Redis: 1 for the first request of a batch


NOT_LIMITED = Admission()


class _Waiting(NamedTuple):
    client: LimitedClient | None
    page_key: str  # "": no page is wanted
    admission: asyncio.Future[Admission]


class _Reply(NamedTuple):
    generation: str = ""
    buckets: Sequence[int] | None = None  # room and wait per client; None: Redis is away
    looks: Mapping[str, Look] = MappingProxyType({})  # by page key


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


class Admissions:
    def __init__(self, redis: AsyncClient) -> None:
        self._redis = redis
        self._coalesce_ms = coalesce_ms()
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
        looks = dict(reply.looks)
        for number, one in enumerate(waiting):
            decision = next(decisions[one.client]) if one.client else None
            look = looks.get(one.page_key)
            if look and look.is_locked:
                looks[look.page_key] = look._replace(is_locked=False)  # for the others
            if not one.admission.done():
                one.admission.set_result(Admission(decision, reply.generation, look, int(number == 0)))

    async def _ask_redis(self, batch: _Batch) -> _Reply:
        catalogue_cache.pending.check_connection()
        at, owner = time.monotonic(), uuid.uuid4().hex if batch.pages else ""
        try:
            answer = await self._redis.run(ADMIT_BATCH, _keys(batch), self._arguments(batch, owner))
        except RedisAwayError:
            return _Reply()
        except Exception:  # every request of the batch waits for an answer
            logger.exception("admission_failed")
            return _Reply()
        generation, rooms, found = answer
        if catalogue_cache.pending.is_pending:
            return _Reply(buckets=rooms)
        pages = zip(batch.pages, *(found[part::4] for part in range(4)), strict=True)
        looks = {
            page_key: Look(
                *(page_key, owner, at, generation.decode(), freshness),
                *(unpacked(stored, left) if stored else None, bool(is_locked)),
            )
            for page_key, freshness, stored, left, is_locked in pages
        }
        return _Reply(generation.decode(), rooms, looks)

    def _arguments(self, batch: _Batch, owner: str) -> list[str | int]:
        numbers = {client: number for number, client in enumerate(batch.calls, 1)}
        arguments: list[str | int] = [self._coalesce_ms, LOCK_SECONDS * 1000, len(batch.calls)]
        for (policy, _), count in batch.calls.items():
            arguments += [policy.quota, policy.interval, count]
        for client, call in batch.pages.values():
            arguments += [owner, numbers[client] if client else 0, call]
        return arguments


def _keys(batch: _Batch) -> list[str]:
    buckets = (limiter.key_of(*client) for client in batch.calls)
    pages = (name for page_key in batch.pages for name in (page_key, lock_of(page_key)))
    return [catalogue_cache.generation_key, catalogue_cache.writers_key, *buckets, *pages]
