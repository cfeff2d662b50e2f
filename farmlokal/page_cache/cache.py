"""Pages in Redis that are valid until the next write.

Redis holds the name of the current generation. A page carries the generation in which its rows were read, and is valid
while that generation is the current one. A writer announces itself right before it commits, which ends the generation.
No new one begins until the writer reports that its commit is done, or its announcement expires because it died. So no
page outlives a commit, and no write has to find the pages that it changes.

With PAGE_COALESCE_SECONDS a generation lasts that long after the first write that it has missed.

On a miss, the process that gets the page's lock renders the page. The others serve the stale page, or wait.
"""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection

from farmlokal.http.representations import Representation
from farmlokal.mysql import replicas
from farmlokal.mysql.errors import is_deadlock, is_unavailable
from farmlokal.page_cache.missed_writes import MissedWrites
from farmlokal.page_cache.pages import Lifetime, Lookup, Page, Served, unpacked
from farmlokal.page_cache.pending import PendingInvalidation
from farmlokal.page_cache.positions import Positions
from farmlokal.redis.client import run
from farmlokal.redis.scripts import DELETE_KEY, HASH_TAG, Call, key, load, tag_of
from farmlokal.single_flight import fly

ANNOUNCED_SECONDS = 10
LOCK_SECONDS = 3
LOOKUP_SECONDS = 0.5  # an older lookup may have lost its lock, or missed a page that another process has stored
MAX_PAGE_BYTES = 256 * 1024
JITTER = 0.1

ANNOUNCE = load(__file__, "announce.lua")
WRITTEN = load(__file__, "written.lua")
FIND_PAGE = load(__file__, "find_page.lua")
READ_GENERATION = load(__file__, "read_generation.lua")
FIND_PAGE_OF = load(__file__, "find_page_of.lua")
PEEK_PAGE = load(__file__, "peek_page.lua")
STORE_PAGE = load(__file__, "store_page.lua")
START = load(__file__, "start.lua")


def coalesce_ms() -> int:
    return round(settings.PAGE_COALESCE_SECONDS * 1000)


class PageCache:
    """The cached pages of one app. name: the prefix of its keys."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.generation_key = key(name, "generation")
        self.origin_key = key(name, "origin")
        self.writers_key = key(name, "writers")  # a sorted set: writer -> when its announcement expires
        self.pending = PendingInvalidation(self.generation_key)
        self.positions = Positions(self.generation_key, key(name, "position"))

    def announce_write(self) -> None:
        """Call it in the transaction of a write: no page that was read before the commit is valid after it."""
        if connection.in_atomic_block:
            connection.around_commit = self._announced  # type: ignore[attr-defined]  # farmlokal.mysql
        else:
            with self._announced():
                pass

    @contextlib.contextmanager
    def _announced(self) -> Iterator[None]:
        """A commit that fails leaves its announcement, since the server may still carry it out."""
        writer, keys = uuid.uuid4().hex, [self.generation_key, self.writers_key]
        is_told = run(ANNOUNCE, keys, [coalesce_ms(), writer, ANNOUNCED_SECONDS], insists=True)
        try:
            if not is_told:
                MissedWrites.add(self._name)  # in the transaction of the write
            yield
            is_told = run(WRITTEN, keys, [coalesce_ms(), writer], insists=True) and is_told
        except OperationalError as error:
            if is_deadlock(error):  # rolled back: another Galera node has changed the same row
                run(WRITTEN, keys, [coalesce_ms(), writer], insists=True)
            raise
        finally:
            if not is_told:
                self.pending.add_write()

    def first_greeting(self) -> Call:
        """For the first connection of a process to Redis. Asks MySQL, and closes that connection."""
        try:
            noted = str(MissedWrites.total(self._name))
        except DatabaseError:
            noted = ""
        finally:
            connection.close()
        return Call(START, [self.generation_key, self.origin_key], [noted])

    def greeting(self) -> Call:
        """For every later connection: Redis may have come back with old data."""
        return Call(DELETE_KEY, [self.generation_key])

    def get(
        self,
        page_key: str,
        make: Callable[[], Representation],
        lifetime: Lifetime,
        held: Page | None = None,
        first_lookup: Lookup | None = None,
    ) -> Served:
        """The page from Redis, or rendered by one process of all.

        first_lookup: of the edge, in the round trip that counted the request. While MySQL is away, an older page serves
        as long as pages are kept: the one in Redis, else `held`, the copy in this process's memory.
        """
        if connection.in_atomic_block:  # a transaction may see rows that are not committed
            return Served(page_key, Page(make(), "", 0), "bypass")
        ends = time.monotonic() + LOCK_SECONDS
        owner = (first_lookup and first_lookup.owner) or uuid.uuid4().hex
        lookups = [first_lookup] if first_lookup and first_lookup.at > time.monotonic() - LOOKUP_SECONDS else []

        def make_of(generation: str) -> Representation:
            return replicas.read(make, generation, self.positions.of)

        def answer() -> Callable[[], Served] | None:
            lookup = lookups.pop() if lookups else self.look_up(page_key, owner)
            if lookup.page and lookup.result:
                served = Served(page_key, lookup.page, lookup.result)
                return lambda: served
            must_wait = lookup.is_rendered_elsewhere and time.monotonic() < ends
            return None if must_wait else lambda: _render(lookup, make_of, lifetime, held)

        return fly(answer, ends)

    def look_up(self, page_key: str, owner: str) -> Lookup:
        """Look the page up. Take its lock for `owner` if it must be rendered."""
        lookup = Lookup(page_key, owner, time.monotonic())
        self.pending.check_connection()
        if self.pending.is_pending:
            return lookup
        answer = self._find(page_key, owner)
        if not answer:
            return lookup
        generation, stored, left, is_locked = answer
        page = unpacked(stored, left) if stored else None
        return lookup._replace(generation=generation.decode(), page=page, is_locked=bool(is_locked))

    def _find(self, page_key: str, owner: str) -> Sequence[Any] | None:
        """What FIND_PAGE returns. A page under another hash tag may be on another node, which costs a second command.

        The two need not be one step: a page is valid if its generation was the current one after the request arrived.
        """
        state, page = [self.generation_key, self.writers_key], [page_key, lock_of(page_key)]
        if tag_of(page_key) == HASH_TAG:
            arguments = [coalesce_ms(), owner, LOCK_SECONDS * 1000]
            return run(FIND_PAGE, [*state, *page], arguments)  # type: ignore[no-any-return]
        answer = run(READ_GENERATION, state, [coalesce_ms()])
        if not answer or not answer[0]:
            return None
        found = run(FIND_PAGE_OF, page, [answer[0], owner, LOCK_SECONDS * 1000])
        return found and [answer[0], *found]


def _render(lookup: Lookup, make_of: Callable[[str], Representation], lifetime: Lifetime, held: Page | None) -> Served:
    """make_of: makes the page of a generation."""
    # With jitter, so that pages do not expire together.
    fresh = lifetime.fresh * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # no secret
    packed = b""
    try:
        page = Page(make_of(lookup.generation), lookup.generation, fresh)
        packed = page.packed()
    except Exception as error:
        old = _old_page(lookup.page_key, lifetime, held) if is_unavailable(error) else None
        if old:
            return Served(lookup.page_key, old._replace(generation=""), "stale")
        raise
    finally:
        if lookup.is_locked:
            stored = packed if len(packed) <= MAX_PAGE_BYTES else b""
            times = [round(fresh * 1000), lifetime.kept * 1000]
            keys = [lookup.page_key, lock_of(lookup.page_key)]
            run(STORE_PAGE, keys, [lookup.owner, lookup.generation, *times, stored], insists=True)
    return Served(lookup.page_key, page, "miss" if lookup.is_locked else "bypass")


def _old_page(page_key: str, lifetime: Lifetime, held: Page | None) -> Page | None:
    """A page of any generation, while MySQL is away."""
    answer = run(PEEK_PAGE, [page_key])
    if answer and answer[0]:
        return unpacked(answer[0])
    return held if held and held.left > -lifetime.kept else None


def lock_of(page_key: str) -> str:
    return f"{page_key}:lock"
