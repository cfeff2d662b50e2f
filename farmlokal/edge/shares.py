"""What one batch of requests asks of Redis. The keys under one hash tag are a share, and cost one script call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from farmlokal.page_cache.cache import LOCK_SECONDS, coalesce_ms, lock_of
from farmlokal.page_cache.pages import Page, unpacked
from farmlokal.ratelimit.limiter import Policy
from farmlokal.redis.scripts import HASH_TAG, Call, load, tag_of
from products.catalogue_cache import catalogue_cache

LimitedClient = tuple[Policy, str]

ADMIT_BATCH = load(__file__, "admit_batch.lua")
ADMIT_ELSEWHERE = load(__file__, "admit_elsewhere.lua")

STATE_KEYS = (catalogue_cache.generation_key, catalogue_cache.writers_key)


class Wanted(NamedTuple):
    """What one request asks of Redis."""

    client: LimitedClient | None
    bucket: str  # the client's key
    page_key: str  # "": no page is wanted


class Found(NamedTuple):
    page: Page | None  # of the asked generation, perhaps stale
    is_locked: bool  # by the batch


class Result(NamedTuple):
    """generation: "" if no cached page is valid. buckets: room and wait, by key. pages: by key."""

    generation: str
    buckets: Mapping[str, Sequence[int]]
    pages: Mapping[str, Found]


class Share:
    """calls: how many each bucket counts. pages: with the bucket of this share that the page's first call has, or "",
    and the number of the call in it."""

    def __init__(self, tag: str) -> None:
        self._has_state = tag == HASH_TAG
        self.calls: Counter[str] = Counter()
        self.clients: dict[str, LimitedClient] = {}
        self.pages: dict[str, tuple[str, int]] = {}

    def only_pages(self) -> Share:
        share = Share("")
        share.pages = dict.fromkeys(self.pages, ("", 0))
        return share

    def call(self, believed: str, owner: str) -> Call:
        """believed: the generation of which pages are wanted; the state's own share knows
        better. owner: of the locks; "" takes none."""
        pages = (name for page_key in self.pages for name in (page_key, lock_of(page_key)))
        arguments: list[str | int] = [LOCK_SECONDS * 1000, owner, *self._calls()]
        if self._has_state:
            return Call(ADMIT_BATCH, [*STATE_KEYS, *self.calls, *pages], [coalesce_ms(), *arguments])
        return Call(ADMIT_ELSEWHERE, [*self.calls, *pages], [believed, *arguments])

    def _calls(self) -> Iterable[int]:
        yield len(self.calls)
        for bucket, count in self.calls.items():
            policy, _ = self.clients[bucket]
            yield from (policy.quota, policy.interval, count)
        numbers = {bucket: number for number, bucket in enumerate(self.calls, 1)}
        for bucket, call in self.pages.values():
            yield from (numbers.get(bucket, 0), call)

    def result(self, answer: Sequence[Any]) -> Result:
        """answer: of call()."""
        generation, rooms, found = answer
        buckets = {bucket: rooms[2 * number : 2 * number + 2] for number, bucket in enumerate(self.calls)}
        pages = {
            page_key: Found(unpacked(stored, left) if stored else None, bool(is_locked))
            for page_key, stored, left, is_locked in zip(self.pages, found[::3], found[1::3], found[2::3], strict=True)
        }
        return Result(generation.decode(), buckets, pages)


def shares_of(batch: Iterable[Wanted]) -> dict[str, Share]:
    """The shares by tag. The first one has the state's tag, and is always there."""
    shares = {HASH_TAG: Share(HASH_TAG)}
    for client, bucket, page_key in batch:
        if client:
            share = _share(shares, bucket)
            share.clients[bucket] = client
            share.calls[bucket] += 1
        if page_key:
            share = _share(shares, page_key)
            share.pages.setdefault(page_key, (bucket, share.calls[bucket]) if bucket in share.calls else ("", 0))
    return shares


def _share(shares: dict[str, Share], key: str) -> Share:
    tag = tag_of(key)
    if tag not in shares:
        shares[tag] = Share(tag)
    return shares[tag]
