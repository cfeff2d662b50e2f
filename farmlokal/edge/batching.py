"""One round trip to Redis for all who wait for one: their limits, the catalogue's state, the pages that are missing."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import structlog

from farmlokal.page_cache.cache import coalesce_ms
from farmlokal.page_cache.pages import Page, unpacked
from farmlokal.ratelimit import limiter
from farmlokal.redis.async_client import RedisAwayError
from farmlokal.redis.scripts import load
from products.page_cache import catalogue_cache

if TYPE_CHECKING:
    from farmlokal.ratelimit.limiter import Decision, Policy
    from farmlokal.redis.async_client import AsyncClient

logger = structlog.get_logger(__name__)

MAX_AT_ONCE = 64  # Redis does nothing else meanwhile

ADMIT = load(__file__, "admit.lua")


class Admission(NamedTuple):
    decision: Decision | None  # None: there is no limit
    generation: str  # the current one; "": no cached page is valid
    page: Page | None  # of that generation, if the copy at hand is not
    commands: int  # to Redis: one for the first of those who asked together


class Asked(NamedTuple):
    policy: Policy | None
    client: str
    page_key: str  # "": none
    known: str  # the generation of the copy at hand
    answer: asyncio.Future[Admission]


class Admissions:
    def __init__(self, redis: AsyncClient) -> None:
        self._redis = redis
        self._coalesce = coalesce_ms()
        self._asked: list[Asked] = []
        self._batch: asyncio.Task[None] | None = None

    def ask(self, policy: Policy | None, client: str, page_key: str, known: str) -> asyncio.Future[Admission]:
        loop = asyncio.get_running_loop()
        asked = Asked(policy, client, page_key, known, loop.create_future())
        self._asked.append(asked)
        if self._batch is None:
            self._batch = loop.create_task(self._settle_all())
        return asked.answer

    async def _settle_all(self) -> None:
        """One round trip at a time: who comes meanwhile shares the next."""
        try:
            while self._asked:
                asked, self._asked = self._asked[:MAX_AT_ONCE], self._asked[MAX_AT_ONCE:]
                await self._settle(asked)
        finally:
            self._batch = None

    async def _settle(self, asked: list[Asked]) -> None:
        calls = Counter((one.policy, one.client) for one in asked if one.policy)
        pages = {one.page_key: one.known for one in asked if one.page_key}
        keys = [
            catalogue_cache.generation_key,
            catalogue_cache.writers_key,
            *(limiter.key_of(*caller) for caller in calls),
            *pages,
        ]
        costs = [number for (policy, _), count in calls.items() for number in (policy.quota, policy.interval, count)]
        generation, rooms, arrived = "", None, {}
        try:
            found = await self._redis.run(ADMIT, keys, [self._coalesce, len(calls), *costs, *pages.values()])
            rooms = found[1]
            if not catalogue_cache.pending.is_pending:
                arrived = _pages(list(pages), found[2])
                generation = found[0].decode()
        except RedisAwayError:
            pass
        except Exception:  # whatever it is, everyone here waits for an answer
            logger.exception("admission_failed")
        decisions = {}
        for number, (caller, count) in enumerate(calls.items()):
            room = rooms[2 * number : 2 * number + 2] if rooms else None
            decisions[caller] = iter(limiter.read(*caller, count, room))
        for number, one in enumerate(asked):
            decision = next(decisions[one.policy, one.client]) if one.policy else None
            if not one.answer.done():
                one.answer.set_result(Admission(decision, generation, arrived.get(one.page_key), int(number == 0)))


def _pages(keys: list[str], sent: list[bytes | int]) -> dict[str, Page]:
    by_key = zip(keys, sent[::2], sent[1::2], strict=True)
    return {key: unpacked(kept, int(left)) for key, kept, left in by_key if isinstance(kept, bytes) and kept}
