"""One round trip to Redis for all waiting requests: their limits, the catalogue's generation, the missing pages."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from farmlokal.page_cache.cache import coalesce_ms
from farmlokal.page_cache.pages import Page, unpacked
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
    page: Page | None = None  # of that generation, if it is newer than the local copy
    commands: int = 0  # to Redis: 1 for the first request of a batch


NOT_LIMITED = Admission()


class _Waiting(NamedTuple):
    policy: Policy | None
    client: str
    page_key: str  # "": none
    known_generation: str  # of the local copy
    admission: asyncio.Future[Admission]


class _Reply(NamedTuple):
    generation: str = ""
    buckets: Sequence[int] | None = None  # room and wait per client; None: Redis is away
    pages: dict[str, Page] = {}  # noqa: RUF012


class Admissions:
    def __init__(self, redis: AsyncClient) -> None:
        self._redis = redis
        self._coalesce_ms = coalesce_ms()
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def ask(
        self, policy: Policy | None, client: str, page_key: str, known_generation: str
    ) -> asyncio.Future[Admission]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(policy, client, page_key, known_generation, loop.create_future())
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

    async def _settle(self, batch: list[_Waiting]) -> None:
        calls = Counter((one.policy, one.client) for one in batch if one.policy)
        reply = await self._ask_redis(calls, {one.page_key: one.known_generation for one in batch if one.page_key})
        decisions = {}
        for number, (client, count) in enumerate(calls.items()):
            bucket = reply.buckets[2 * number : 2 * number + 2] if reply.buckets else None
            decisions[client] = iter(limiter.decisions(*client, count, bucket))
        for number, one in enumerate(batch):
            decision = next(decisions[one.policy, one.client]) if one.policy else None
            if not one.admission.done():
                page = reply.pages.get(one.page_key)
                one.admission.set_result(Admission(decision, reply.generation, page, int(number == 0)))

    async def _ask_redis(self, calls: Counter[LimitedClient], pages: dict[str, str]) -> _Reply:
        """pages: the generation of the local copy, by page key."""
        buckets = [limiter.key_of(*client) for client in calls]
        keys = [catalogue_cache.generation_key, catalogue_cache.writers_key, *buckets, *pages]
        costs = [number for (policy, _), count in calls.items() for number in (policy.quota, policy.interval, count)]
        try:
            arguments = [self._coalesce_ms, len(calls), *costs, *pages.values()]
            generation, rooms, stored = await self._redis.run(ADMIT_BATCH, keys, arguments)
            if catalogue_cache.pending.is_pending:
                return _Reply(buckets=rooms)
            return _Reply(generation.decode(), rooms, _unpack_all(list(pages), stored))
        except RedisAwayError:
            return _Reply()
        except Exception:  # every request of the batch waits for an answer
            logger.exception("admission_failed")
            return _Reply()


def _unpack_all(keys: list[str], stored: list[bytes | int]) -> dict[str, Page]:
    """stored: per key the page, or b"", and its milliseconds until it is stale."""
    by_key = zip(keys, stored[::2], stored[1::2], strict=True)
    return {key: unpacked(page, int(left)) for key, page, left in by_key if isinstance(page, bytes) and page}
