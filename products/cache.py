"""What Redis knows about answers: which entity tag an address has, so that a 304 needs no query.

It is believed only while the catalogue is as it was. A writer announces itself before its first write, and
changes the catalogue's state once it has committed. While one is announced, nothing is believed or remembered:
so a writer that dies between commit and change leaves nothing wrong. Its announcement outlives every state
that it may have left behind.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import transaction

from farmlokal.answers import not_modified, whole
from farmlokal.conditional import etag_of
from farmlokal.redis import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest, HttpResponse
    from redis import Redis

STATE = "catalogue:state"
WRITERS = "catalogue:writers"  # name -> when its announcement ends
STATE_SECONDS = 30
ANNOUNCED_SECONDS = 60
REMEMBERED_SECONDS = 60


class Known(NamedTuple):
    key: str
    state: str | None  # None: nothing may be remembered now
    etag: str | None


def announce_write() -> None:
    """To be called in the transaction of a write, before it; what was known before it counts no more after it."""
    writer = uuid.uuid4().hex

    def announce(redis: Redis) -> None:
        pipeline = redis.pipeline(transaction=False)
        pipeline.zadd(WRITERS, {writer: time.time() + ANNOUNCED_SECONDS})
        pipeline.expire(WRITERS, 2 * ANNOUNCED_SECONDS)
        pipeline.execute()

    def change(redis: Redis) -> bool:
        pipeline = redis.pipeline(transaction=True)
        pipeline.set(STATE, uuid.uuid4().hex, ex=STATE_SECONDS)
        pipeline.zrem(WRITERS, writer)
        return bool(pipeline.execute())

    ask(announce, insists=True)
    transaction.on_commit(lambda: _try(change), robust=True)


class _Owed:
    """The change of state that this process could not tell Redis of; its next request tries again."""

    change: Callable[[Redis], bool] | None = None


def _try(change: Callable[[Redis], bool]) -> None:
    _Owed.change = None if ask(change, insists=True) else change


def known(address: str) -> Known:
    """What is known of the answer to this address; one round trip."""
    key = f"catalogue:etag:{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def read(redis: Redis) -> list[Any]:
        pipeline = redis.pipeline(transaction=True)
        pipeline.set(STATE, uuid.uuid4().hex, ex=STATE_SECONDS, nx=True)
        pipeline.get(STATE)
        pipeline.zcount(WRITERS, time.time(), "+inf")
        pipeline.get(key)
        return pipeline.execute()

    if _Owed.change:
        _try(_Owed.change)
    found = None if _Owed.change else ask(read)
    if not found or found[2]:
        return Known(key, None, None)
    state = found[1].decode()
    of_state, _, etag = (found[3] or b"").decode().partition(" ")
    return Known(key, state, etag if of_state == state else None)


def remember(asked: Known, etag: str) -> None:
    """For an answer that was made after known()."""
    if asked.state:
        ask(lambda redis: redis.set(asked.key, f"{asked.state} {etag}", ex=REMEMBERED_SECONDS))


class Made(NamedTuple):
    body: bytes
    headers: Mapping[str, str] = {}


def answer(
    request: HttpRequest, make: Callable[[], Made], headers: Mapping[str, str], *, gzips: bool = True
) -> HttpResponse:
    """The answer to a read: a 304 without a query where its entity tag is known, else what make() returns."""
    asked = known(request.build_absolute_uri())
    if asked.etag and (response := not_modified(request, asked.etag, headers, gzips=gzips)):
        return response
    made = make()
    etag = etag_of(made.body)
    remember(asked, etag)
    unchanged = not_modified(request, etag, headers, gzips=gzips)
    return unchanged or whole(request, made.body, etag, {**headers, **made.headers}, gzips=gzips)
