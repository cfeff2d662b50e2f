"""One round trip to Redis for all waiting requests: their limits, the catalogue's generation, the missing pages.

With several hash tags, a batch sends a command for each tag that it needs, all at once. Only the state's tag has the
generation. The other commands look for pages of the generation that this process saw last. If it has ended meanwhile,
they are sent once more. So a page that is served has the generation that was read after its request had arrived. The
two nodes need not answer at one moment: no generation has a name that was used before, and the rows of its pages were
read after it had begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import structlog

from farmlokal.edge.shares import ADMIT_BATCH, ADMIT_ELSEWHERE, Found, LimitedClient, Result, Share, Wanted, shares_of
from farmlokal.page_cache.cache import STORE_PAGE, lock_of
from farmlokal.page_cache.pages import Lookup
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.limiter import Decision
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.async_connection import RedisAwayError
from farmlokal.redis.client import Outages
from products.catalogue_cache import catalogue_cache

logger = structlog.get_logger(__name__)

MAX_BATCH = 64  # Redis does nothing else meanwhile
SCRIPTS = [ADMIT_BATCH, ADMIT_ELSEWHERE, STORE_PAGE]


class Admission(NamedTuple):
    decision: Decision | None = None  # None: there is no limit
    generation: str = ""  # the current one; "": no cached page is valid
    lookup: Lookup | None = None  # of the wanted page; the first request of the batch that wants it has the lock
    commands: int = 0  # to Redis: those of the batch, for its first request


NOT_LIMITED = Admission()


class _Waiting(NamedTuple):
    wanted: Wanted
    admission: asyncio.Future[Admission]


class _Reply(NamedTuple):
    """The default is that of a Redis that is away."""

    generation: str = ""
    buckets: Mapping[str, Sequence[int]] = MappingProxyType({})  # room and wait, by key
    pages: Mapping[str, Found] = MappingProxyType({})  # by key
    locked: Collection[str] = ()  # the pages whose lock the batch has, even if it does not need it
    commands: int = 1


class Admissions:
    def __init__(self, redis: AsyncClient) -> None:
        self._redis = redis
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._generation = ""  # that Redis named last
        self._releases: set[asyncio.Task[None]] = set()

    def ask(self, client: LimitedClient | None, page_key: str) -> asyncio.Future[Admission]:
        """client: None if the request is not limited. page_key: "" if it needs no page."""
        loop = asyncio.get_running_loop()
        bucket = limiter.key_of(*client) if client else ""
        waiting = _Waiting(Wanted(client, bucket, page_key), loop.create_future())
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
        shares = shares_of(one.wanted for one in waiting)
        at, owner = time.monotonic(), uuid.uuid4().hex
        reply = await self._ask_redis(list(shares.values()), owner)
        decisions = {name: decided for share in shares.values() for name, decided in _decisions(share, reply)}
        unused, commands = set(reply.locked), reply.commands
        for (client, bucket, page_key), admission in waiting:
            decision = next(decisions[bucket]) if client else None
            if admission.done():
                continue
            lookup, found = None, reply.pages.get(page_key)
            if found and not (decision and decision.is_refused):
                has_lock = found.is_locked and page_key in unused
                if has_lock:
                    unused.remove(page_key)
                name = owner if has_lock else uuid.uuid4().hex
                lookup = Lookup(page_key, name, at, reply.generation, found.page, has_lock)
            admission.set_result(Admission(decision, reply.generation, lookup, commands))
            commands = 0
        for page_key in unused:
            self._release(page_key, owner)

    async def _ask_redis(self, shares: Sequence[Share], owner: str) -> _Reply:
        try:
            catalogue_cache.pending.check_connection()
            reply = await self._look_up(shares, owner if _may_lock() else "")
            return reply._replace(generation="", pages={}) if catalogue_cache.pending.is_pending else reply
        except RedisAwayError:
            return _Reply()
        except Exception:  # every request of the batch waits for an answer
            logger.exception("admission_failed")
            return _Reply()

    async def _look_up(self, shares: Sequence[Share], owner: str) -> _Reply:
        believed = self._generation
        results = await self._run_all(shares, believed, owner)
        found = results
        self._generation = generation = results[0].generation
        if generation != believed and (again := [share.only_pages() for share in shares[1:] if share.pages]):
            found = [results[0], *await self._run_all(again, generation, owner)]
            results = [*results, *found[1:]]
        return _Reply(
            generation,
            {bucket: room for result in results for bucket, room in result.buckets.items()},
            {page_key: page for result in found for page_key, page in result.pages.items()},
            {page_key for result in results for page_key, page in result.pages.items() if page.is_locked},
            len(results),
        )

    async def _run_all(self, shares: Sequence[Share], believed: str, owner: str) -> list[Result]:
        answers = await self._redis.run_all([share.call(believed, owner) for share in shares])
        return [share.result(answer) for share, answer in zip(shares, answers, strict=True)]

    def _release(self, page_key: str, owner: str) -> None:
        task = asyncio.get_running_loop().create_task(self._unlock(page_key, owner))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _unlock(self, page_key: str, owner: str) -> None:
        """Otherwise others would wait for a page that no request renders."""
        with contextlib.suppress(RedisAwayError):
            await self._redis.run(STORE_PAGE, [page_key, lock_of(page_key)], [owner, "", 0, 0, ""])


def _may_lock() -> bool:
    """Whether the threads could store a page now, which releases its lock."""
    return not (catalogue_cache.pending.is_pending or Outages.is_away)


def _decisions(share: Share, reply: _Reply) -> Iterator[tuple[str, Iterator[Decision]]]:
    for bucket, count in share.calls.items():
        yield bucket, iter(limiter.decisions(*share.clients[bucket], count, reply.buckets.get(bucket)))
