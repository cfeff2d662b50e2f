"""Pages in Redis, believed only while the catalogue is as it was when they were read.

The catalogue's state is a name that Redis holds until something is written. A page carries the state that was there
before its rows were read, and is fresh while that state is there. A writer announces itself right before it commits,
which ends the state; no new one begins before it says that it is through, or its announcement ends (it died). So no
page outlives a commit, and none is ever looked for to be deleted.

With PAGE_COALESCE_SECONDS a state lives on for as long after the first write that it does not know of.

Of all processes that miss a page one makes it: the one that holds its lock. The others serve the page that has only
outlived its time, or wait.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import random
import threading
import time
import uuid
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import orjson
import structlog
from django.conf import settings
from django.db import connection
from redis import RedisError

from farmlokal.http.problems import is_database_away
from farmlokal.http.representations import Representation, respond
from farmlokal.observability.metrics import count_page
from farmlokal.redis import client
from farmlokal.redis.client import CLOCK_LUA, FORGET, Script, key, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from django.http import HttpRequest, HttpResponse

Result: TypeAlias = Literal["hit", "miss", "stale", "bypass"]

STATE = key("catalogue", "state")
WRITERS = key("catalogue", "writers")  # name -> when its announcement ends
ANNOUNCED_SECONDS = 10
LOCK_SECONDS = 3
POLL_SECONDS = 0.005  # at first, twice as long each time
MAX_POLL_SECONDS = 0.1
RETRY_SECONDS = 0.05
EXIT_SECONDS = 3
MAX_PAGE_BYTES = 256 * 1024
JITTER = 0.1

logger = structlog.get_logger(__name__)

# In the ASGI scope: the page that farmlokal.edge.app holds, and the one that Django answers with.
HELD = "farmlokal.edge.local_pages"
SERVED = "farmlokal.served"


class Lifetime(NamedTuple):
    """Seconds that a page is fresh, and that it is kept after that, to be served while MySQL is away."""

    fresh: int
    kept: int


# Those that many ask for, and those that hardly anybody asks for twice (deep pages, words, single prices): crawlers
# and random words fill the memory for three minutes at most.
LASTING = Lifetime(600, 3600)
SHORT = Lifetime(180, 60)

STATE_LUA = """
-- The state: begun anew where there is none. Nil while a writer is announced, or where Redis takes no writes: what
-- could not be ended is not to be believed.
local function state(states, writers, coalesce)
  local name = string.format('%.0f', now)
  local purged = redis.pcall('ZREMRANGEBYSCORE', writers, '-inf', name)
  if type(purged) == 'table' then return nil end
  local found = redis.call('GET', states)
  if found then return found end
  local is_written = redis.call('ZCARD', writers) > 0
  if is_written and coalesce == 0 then return nil end
  local begun = is_written and redis.pcall('SET', states, name, 'PX', coalesce) or redis.pcall('SET', states, name)
  if begun.err then return nil end
  return name
end

-- Of a kept page: its state, and the milliseconds until it is old. Nil for what is none.
local function of_page(kept)
  local of_state, old_at = string.match(kept or '', '^(%d+) (%d+)\\n')
  if of_state then return of_state, math.floor((tonumber(old_at) - now) / 1000) end
end
"""

# LOOK states writers page lock | coalesce owner lock_ms -> {state, freshness, page, has the lock, ms until it is old}
# freshness: 2 fresh, 1 older than its time, 0 of another state (or no page).
LOOK = Script(
    CLOCK_LUA
    + STATE_LUA
    + """
local now_state = state(KEYS[1], KEYS[2], tonumber(ARGV[1]))
local page = redis.call('GET', KEYS[3])
local freshness = 0
local of_state, left = of_page(page)
if of_state and of_state == now_state then freshness = left > 0 and 2 or 1 end
local is_locked = 0
if now_state and freshness < 2 then
  local locked = redis.pcall('SET', KEYS[4], ARGV[2], 'NX', 'PX', ARGV[3])
  if type(locked) == 'table' and locked.ok then is_locked = 1 end
end
return {now_state or '', freshness, of_state and page or '', is_locked, left or 0}
"""
)

# LEAVE page lock | owner state fresh_ms kept_ms rest: keeps the page, if there is one and the lock is still ours.
LEAVE = Script(
    CLOCK_LUA
    + STATE_LUA
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {0} end
if ARGV[5] ~= '' then
  local old_at = string.format('%.0f', now + tonumber(ARGV[3]) * 1000)
  redis.pcall('SET', KEYS[1], ARGV[2] .. ' ' .. old_at .. '\\n' .. ARGV[5], 'PX', ARGV[3] + ARGV[4])
end
redis.call('DEL', KEYS[2])
return {1}
"""
)

END_LUA = """
local function end_state(states, coalesce)
  if coalesce == 0 then
    redis.call('DEL', states)
  elseif redis.call('PTTL', states) == -1 then
    redis.call('PEXPIRE', states, coalesce)
  end
end
"""
# Both: states writers | coalesce writer [seconds]
ANNOUNCE = Script(
    CLOCK_LUA
    + STATE_LUA
    + END_LUA
    + """
redis.call('ZREM', KEYS[2], ARGV[2])  -- a full Redis takes what adds to it only behind something that does not
redis.pcall('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3] * 1000000), ARGV[2])
end_state(KEYS[1], tonumber(ARGV[1]))
return {1}
"""
)
WRITTEN = Script(
    END_LUA
    + """
redis.call('ZREM', KEYS[2], ARGV[2])
end_state(KEYS[1], tonumber(ARGV[1]))
return {1}
"""
)


def coalesce_ms() -> int:
    return round(settings.PAGE_COALESCE_SECONDS * 1000)


# Writers


def announce_write() -> None:
    """To be called in the transaction of a write: no page that was read before its commit is believed after it."""
    if connection.in_atomic_block:
        connection.around_commit = _announced  # type: ignore[attr-defined]  # farmlokal.mysql
    else:
        with _announced():
            pass


@contextlib.contextmanager
def _announced() -> Iterator[None]:
    """A commit that fails leaves its announcement: nobody knows what became of it."""
    writer = uuid.uuid4().hex
    told = run(ANNOUNCE, [STATE, WRITERS], [coalesce_ms(), writer, ANNOUNCED_SECONDS], insists=True)
    try:
        yield
        told = run(WRITTEN, [STATE, WRITERS], [coalesce_ms(), writer], insists=True) and told
    finally:
        if not told:
            debt.owe()


class Debt:
    """That Redis still has to be told to forget the state: it was away when this process wrote, or it was lost, and
    may have come back with a state that has missed a write. Until it has heard, this process believes nothing."""

    def __init__(self) -> None:
        self._is_owed = False
        self._is_for_a_write = False
        self._times = 0
        self._lock = threading.Lock()
        self._settled_losses = 0

    @property
    def is_owed(self) -> bool:
        return self._is_owed

    def owe(self) -> None:
        """For a write of this process's own."""
        self._begin_to_pay(is_for_a_write=True)

    def check(self) -> None:
        """Redis lost is a debt too."""
        losses = client.Outages.losses
        if losses != self._settled_losses:
            self._begin_to_pay(is_for_a_write=False)
            self._settled_losses = losses

    def settle(self) -> None:
        """Before the process ends, which alone knows of its write."""
        ends = time.monotonic() + EXIT_SECONDS
        while self._is_owed and self._is_for_a_write:
            if time.monotonic() > ends:
                logger.error("redis_missed_a_write", error="kept pages may be older than it until their time ends")
                return
            time.sleep(RETRY_SECONDS)

    def _begin_to_pay(self, *, is_for_a_write: bool) -> None:
        with self._lock:
            self._times += 1
            self._is_for_a_write |= is_for_a_write
            if not self._is_owed:
                self._is_owed = True
                threading.Thread(target=self._pay, name="forget-state", daemon=True).start()

    def _pay(self) -> None:
        while not self._is_paid():
            time.sleep(RETRY_SECONDS)

    def _is_paid(self) -> bool:
        times = self._times
        try:
            client.ask(FORGET, [STATE])  # also while Redis is silent: no request waits here
        except RedisError:
            return False
        with self._lock:
            if self._times != times:  # what was owed since is not paid with it
                return False
            self._is_owed = self._is_for_a_write = False
            return True


debt = Debt()
atexit.register(debt.settle)


# Readers


class Page(NamedTuple):
    representation: Representation
    state: str  # "": nobody may believe it
    left: float  # seconds until it is older than its time, when it was looked at

    def packed(self) -> bytes:
        """What LEAVE keeps behind the state and the time."""
        etag, identity, gzipped, link = self.representation
        head = orjson.dumps([etag, link, len(identity), gzipped is not None])
        return b"".join((head, b"\n", identity, gzipped or b""))


def unpacked(kept: bytes, left_ms: int = 0) -> Page:
    prefix, head, bodies = kept.split(b"\n", 2)
    etag, link, length, is_gzipped = orjson.loads(head)
    representation = Representation(etag, bodies[:length], bodies[length:] if is_gzipped else None, link)
    return Page(representation, prefix.partition(b" ")[0].decode(), left_ms / 1000)


class Served(NamedTuple):
    """The page that a request was answered with, and where it came from."""

    key: str
    page: Page
    result: Result


class Look(NamedTuple):
    state: str
    freshness: int
    page: Page | None
    is_locked: bool


def look(page_key: str, owner: str) -> Look:
    debt.check()
    if debt.is_owed:
        return Look("", 0, None, False)
    lock_ms = LOCK_SECONDS * 1000
    found = run(LOOK, [STATE, WRITERS, page_key, _lock_of(page_key)], [coalesce_ms(), owner, lock_ms])
    if not found:
        return Look("", 0, None, False)
    state, freshness, page, is_locked, left = found
    return Look(state.decode(), freshness, unpacked(page, left) if page else None, bool(is_locked))


def served(page_key: str, make: Callable[[], Representation], lifetime: Lifetime, held: Page | None = None) -> Served:
    """The page with this key: kept in Redis, or made with one statement by one process of all. Where MySQL is away,
    an older one that Redis has, or else this process (held), serves for as long as pages are kept."""
    if connection.in_atomic_block:  # what a transaction reads is its own
        return Served(page_key, Page(make(), "", 0), "bypass")
    owner = uuid.uuid4().hex
    deadline, pause = time.monotonic() + LOCK_SECONDS, POLL_SECONDS
    found = look(page_key, owner)
    while found.state and not found.is_locked:
        if found.page and found.freshness:
            return Served(page_key, found.page, "hit" if found.freshness > 1 else "stale")
        if time.monotonic() > deadline:
            break
        time.sleep(pause)
        pause = min(2 * pause, MAX_POLL_SECONDS)
        found = look(page_key, owner)
    fresh = lifetime.fresh * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # so that pages do not end together
    made: Page | None = None
    try:
        made = Page(make(), found.state, fresh)
    except Exception as error:
        last = found.page or (held if held and held.left > -lifetime.kept else None)
        if last and is_database_away(error):
            return Served(page_key, last._replace(state=""), "stale")
        raise
    finally:
        if found.is_locked:
            _leave(page_key, owner, found.state, made, fresh, lifetime)
    return Served(page_key, made, "miss" if found.is_locked else "bypass")


def _leave(page_key: str, owner: str, state: str, page: Page | None, fresh: float, lifetime: Lifetime) -> None:
    packed = page.packed() if page else b""
    times = [round(fresh * 1000), lifetime.kept * 1000]
    kept = packed if len(packed) <= MAX_PAGE_BYTES else b""
    run(LEAVE, [page_key, _lock_of(page_key)], [owner, state, *times, kept])


def _lock_of(page_key: str) -> str:
    return f"{page_key}:lock"


class Made(NamedTuple):
    body: bytes
    link: str = ""


def answer(
    request: HttpRequest,
    query: str,
    make: Callable[[], Made],
    headers: Mapping[str, str],
    lifetime: Lifetime,
    *,
    gzips: bool = True,
) -> HttpResponse:
    """The answer to a read. query: the one spelling of all queries that mean the same at this path."""
    address = request.build_absolute_uri(f"{request.path}?{query}")
    page_key = key("page", hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:32])

    def representation() -> Representation:
        body, link = make()
        return Representation.of(body, link, gzips=gzips)

    scope = request.META.get("asgi.scope", {})
    found = scope[SERVED] = served(page_key, representation, lifetime, scope.get(HELD))
    count_page(found.result)
    response = respond(request, found.page.representation, headers)
    response["X-Cache"] = found.result
    return response
