"""A circuit breaker whose state all processes of all machines share.

    closed     calls go through. Where half of the last 50 failed (25 at least, none older than a minute), it opens
    open       calls fail at once, for 5 s, and twice as long each further time, up to a minute
    half-open  that time is over: one call, the probe, goes through; all others still fail. It closes, or opens again
    held       open until an operator closes it (for others: open)

A failure is what counts against the other side, a slow success too. A refusal of the other side's own (4xx) counts as
nothing; only as a probe it shows that somebody is there. The probe has a permit that ends by itself, so that one whose
process dies stands in nobody's way.

Each decision is one script in Redis, and nobody holds a lock while calling. Each state has a number, its epoch, higher
than all before it: what began in one is not counted in another. A process tells with each question which state it has
last seen; where that is newer than what Redis has, which was emptied or is an older copy, Redis takes it over. With
Redis away each process goes on from there alone, by the same rules.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

import pybreaker
import structlog
from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN

from farmlokal.redis.client import run
from farmlokal.redis.scripts import CLOCK_LUA, Script, key
from integrations.exceptions import BreakerOpenError, CallError, NoRetryError, RefusedError, RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pybreaker import CircuitBreakerState

T = TypeVar("T")

# What became of a call: counts for, or against; the other side's own refusal; nothing that says anything about it.
Outcome: TypeAlias = Literal["good", "bad", "rejected", "nothing"]
State: TypeAlias = Literal["closed", "open", "held"]

WINDOW = 50  # outcomes
LEAST = 25  # of them, before they say anything
FAILURE_RATE = 0.5
MAX_AGE_SECONDS = 60.0
OPEN_SECONDS = 5.0
MAX_OPEN_SECONDS = 60.0
# Second attempts, of all processes together: two at once, and one more for each 25 calls. So in an outage, from its
# first call until the breaker opens, they are less than a tenth.
RETRIES = 2.0
RETRIES_PER_CALL = 0.04
SEEN_SECONDS = 60.0  # for which a process vouches for what it has seen
KEPT_SECONDS = 30 * 24 * 3600
IS_OPEN, MAY_CALL, IS_SPENT, CANNOT_WRITE = 0, 1, 2, -1  # verdicts, of the scripts below too
MICROSECONDS = 1_000_000

logger = structlog.get_logger(__name__)

# Keys of all: record outcomes. Record, a hash: epoch, state, ends (when it has been open for long enough, by Redis's
# clock), streak (how often in a row it has opened), permit and permit_ends (of the probe), retries (that are left).
# Outcomes, a list: 'good 1763890000000000', the newest first. All times in microseconds.
# Arguments of all but SHOW: the epoch, state, ends and streak that the caller has last seen, then its own.
# Answers: {verdict, epoch, state, ends, streak, us to wait}; {-1} where Redis takes no writes.
COMMON_LUA = (
    CLOCK_LUA
    + f"""
local WINDOW, LEAST, FAILURE_RATE, MAX_AGE = {WINDOW}, {LEAST}, {FAILURE_RATE}, {MAX_AGE_SECONDS * MICROSECONDS:.0f}
local OPEN, MAX_OPEN = {OPEN_SECONDS * MICROSECONDS:.0f}, {MAX_OPEN_SECONDS * MICROSECONDS:.0f}
local RETRIES, RETRIES_PER_CALL = {RETRIES}, {RETRIES_PER_CALL}
"""
    + """
local epoch, state, ends, streak, permit, permit_ends =
  unpack(redis.call('HMGET', KEYS[1], 'epoch', 'state', 'ends', 'streak', 'permit', 'permit_ends'))
epoch, state, ends, streak = tonumber(epoch or 0), state or 'closed', tonumber(ends or 0), tonumber(streak or 0)
permit_ends = permit and tonumber(permit_ends or 0) or 0
if ends > now + MAX_OPEN then ends = now end  -- the clock was put back

local function text(number) return string.format('%.0f', number) end
local function become(new_epoch, new_state, new_ends, new_streak)
  epoch, state, ends, streak, permit, permit_ends = new_epoch, new_state, new_ends, new_streak, false, 0
  redis.call('HSET', KEYS[1], 'epoch', text(epoch), 'state', state, 'ends', text(ends), 'streak', text(streak))
  redis.call('HDEL', KEYS[1], 'permit', 'permit_ends')
  redis.call('DEL', KEYS[2])
end
local function next_epoch() return math.max(epoch + 1, now) end
local function open()
  become(next_epoch(), 'open', now + math.min(OPEN * 2 ^ math.min(streak, 10), MAX_OPEN), streak + 1)
end
local function answer(verdict, wait)
  return {verdict, text(epoch), state, text(ends), streak, math.max(wait or 0, 0)}
end
local function outcomes()
  local all, bad = 0, 0
  for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, WINDOW - 1)) do
    local outcome, at = string.match(entry, '^(%a+) (%d+)$')
    if now - tonumber(at) < MAX_AGE then
      all = all + 1
      if outcome == 'bad' then bad = bad + 1 end
    end
  end
  return all, bad
end
"""
)
ADOPT_LUA = f"""
local touched = redis.pcall('HSET', KEYS[1], 'touched', text(now))
if type(touched) == 'table' then return {{-1}} end
redis.call('EXPIRE', KEYS[1], {KEPT_SECONDS})
if tonumber(ARGV[1]) > epoch then become(tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])) end
"""

# For scripts of others that have something to look at first: the microseconds for which this breaker is open, or 0; and
# its state, for Breaker.see(): who is refused by it has to know it, should Redis go.
WAIT_LUA = f"""
local function breaker_wait(record)
  local seen = redis.call('HMGET', record, 'epoch', 'state', 'ends', 'streak')
  local state, wait = seen[2], tonumber(seen[3] or 0) - now
  if state == 'held' then return {MAX_OPEN_SECONDS * MICROSECONDS:.0f}, seen end
  return state == 'open' and wait > 0 and wait <= {MAX_OPEN_SECONDS * MICROSECONDS:.0f} and wait or 0, seen
end
"""

# ADMIT | owner permit_us is_retry -> verdict 1: to be called, 0: not, and for how long, 2: no second attempt now.
ADMIT = Script(
    COMMON_LUA
    + ADOPT_LUA
    + """
local owner, permit_us, is_retry = ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'
if state == 'held' then return answer(0, MAX_OPEN) end
if state == 'open' then
  if permit_ends > now + MAX_OPEN then permit_ends = now end
  local wait = math.max(ends, permit_ends) - now
  if wait > 0 or is_retry then return answer(0, wait) end
  redis.call('HSET', KEYS[1], 'permit', owner, 'permit_ends', text(now + permit_us))
  return answer(1)
end
local retries = tonumber(redis.call('HGET', KEYS[1], 'retries') or RETRIES)
if is_retry and retries < 1 then return answer(2) end
retries = is_retry and retries - 1 or math.min(retries + RETRIES_PER_CALL, RETRIES)
redis.call('HSET', KEYS[1], 'retries', string.format('%.4f', retries))
return answer(1)
"""
)

# RECORD | owner epoch outcome: what became of a call that was admitted in that epoch.
RECORD = Script(
    COMMON_LUA
    + ADOPT_LUA
    + f"""
local owner, outcome = ARGV[5], ARGV[7]
if epoch ~= tonumber(ARGV[6]) then return answer(1) end
if state == 'open' and permit == owner then
  if outcome == 'bad' then
    open()
  elseif outcome == 'nothing' then
    redis.call('HDEL', KEYS[1], 'permit', 'permit_ends')
  else
    become(next_epoch(), 'closed', 0, 0)
  end
elseif state == 'closed' and (outcome == 'good' or outcome == 'bad') then
  redis.call('LPUSH', KEYS[2], outcome .. ' ' .. text(now))
  redis.call('LTRIM', KEYS[2], 0, WINDOW - 1)
  redis.call('EXPIRE', KEYS[2], {MAX_AGE_SECONDS:.0f})
  local all, bad = outcomes()
  if all >= LEAST and bad >= FAILURE_RATE * all then open() end
end
return answer(1)
"""
)

# FORCE | state forgets: what an operator says; forgets ('1'): the streak and the second attempts, too.
FORCE = Script(
    COMMON_LUA
    + ADOPT_LUA
    + """
local forgets = ARGV[6] == '1'
become(next_epoch(), ARGV[5], 0, forgets and 0 or streak)
if forgets then redis.call('HDEL', KEYS[1], 'retries') end
return answer(1)
"""
)

# SHOW -> {epoch, state, ends, streak, us until a probe may go, outcomes, bad ones}. Changes nothing.
SHOW = Script(
    COMMON_LUA
    + "local all, bad = outcomes()\nreturn {text(epoch), state, text(ends), streak, math.max(ends - now, 0), all, bad}"
)


@dataclass(frozen=True)
class Known:
    """A state, as this process has last seen it."""

    epoch: int = 0
    state: State = "closed"
    ends: int = 0  # microseconds, by the wall clock
    streak: int = 0

    def next(self, now: int, state: State, ends: int = 0, streak: int = 0) -> Known:
        return Known(max(self.epoch + 1, now), state, ends, streak)

    def opened(self, now: int) -> Known:
        seconds = min(OPEN_SECONDS * 2 ** min(self.streak, 10), MAX_OPEN_SECONDS)
        return self.next(now, "open", now + int(seconds * MICROSECONDS), self.streak + 1)


class Pass(NamedTuple):
    """Leave to call."""

    epoch: int
    owner: str


class Status(NamedTuple):
    """For people."""

    state: str  # of pybreaker: closed, open, half-open
    is_held: bool
    wait_seconds: float  # until a probe may go
    streak: int
    outcomes: int
    bad: int


class NotSharedError(Exception):
    """Redis is away: what this process says would be heard by nobody."""


def microseconds() -> int:
    return time.time_ns() // 1000


def state_of(known: Known) -> str:
    """In pybreaker's words."""
    if known.state == "closed":
        return STATE_CLOSED
    return STATE_HALF_OPEN if known.state == "open" and known.ends <= microseconds() else STATE_OPEN


def _known_of(fields: Sequence[Any]) -> Known:
    epoch, state, ends, streak = fields
    return Known(int(epoch), state.decode(), int(ends), int(streak))


class Alone:
    """The rules of ADMIT and RECORD, for one process."""

    def __init__(self) -> None:
        self._outcomes: deque[tuple[Outcome, int]] = deque(maxlen=WINDOW)
        self._epoch = 0  # of these
        self._permit, self._permit_ends = "", 0
        self._retries = RETRIES

    def admit(self, known: Known, now: int, owner: str, permit_us: int, *, is_retry: bool) -> tuple[int, float]:
        """The verdict, and the microseconds to wait."""
        if known.state == "held":
            return IS_OPEN, MAX_OPEN_SECONDS * MICROSECONDS
        if known.state == "open":
            wait = max(min(known.ends, now + int(MAX_OPEN_SECONDS * MICROSECONDS)), self._permit_ends) - now
            if wait > 0 or is_retry:
                return IS_OPEN, max(wait, 0)
            self._permit, self._permit_ends = owner, now + permit_us
            return MAY_CALL, 0
        if is_retry and self._retries < 1:
            return IS_SPENT, 0
        self._retries = self._retries - 1 if is_retry else min(self._retries + RETRIES_PER_CALL, RETRIES)
        return MAY_CALL, 0

    def record(self, known: Known, now: int, outcome: Outcome, owner: str) -> Known:
        if known.state == "open" and self._permit == owner:
            self._permit, self._permit_ends = "", 0
            if outcome == "bad":
                return known.opened(now)
            return known if outcome == "nothing" else known.next(now, "closed")
        if known.state == "closed" and outcome in {"good", "bad"}:
            if self._epoch != known.epoch:
                self._epoch = known.epoch
                self._outcomes.clear()
            self._outcomes.append((outcome, now))
            recent = [kept for kept, at in self._outcomes if now - at < MAX_AGE_SECONDS * MICROSECONDS]
            if len(recent) >= LEAST and recent.count("bad") >= FAILURE_RATE * len(recent):
                return known.opened(now)
        return known


class Answer(NamedTuple):
    verdict: int
    epoch: int
    wait: float  # microseconds


class SharedStorage(pybreaker.CircuitBreakerStorage):
    """In Redis, for all; while that is away, in this process."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.key = key("breaker", name)
        self._keys = [self.key, key("breaker", name, "outcomes")]
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._known = Known()
        self._seen_at = 0.0  # by time.monotonic
        self._alone = Alone()
        self._lock = threading.Lock()

    def admit(self, permit_seconds: float, *, is_retry: bool) -> Pass:
        """Leave to call; raises BreakerOpenError or NoRetryError."""
        owner, permit_us = uuid.uuid4().hex, int(permit_seconds * MICROSECONDS)
        answer = self._ask(ADMIT, owner, permit_us, int(is_retry))
        if answer is None:
            with self._lock:
                known = self._known
                verdict, wait = self._alone.admit(known, microseconds(), owner, permit_us, is_retry=is_retry)
                answer = Answer(verdict, known.epoch, wait)
        if answer.verdict == IS_OPEN:
            raise BreakerOpenError("the breaker is open", answer.wait / MICROSECONDS)
        if answer.verdict == IS_SPENT:
            raise NoRetryError("there were too many second attempts")
        return Pass(answer.epoch, owner)

    def record(self, admitted: Pass, outcome: Outcome) -> None:
        if self._ask(RECORD, admitted.owner, admitted.epoch, outcome) is None:
            with self._lock:
                if admitted.epoch == self._known.epoch:
                    self._learn(self._alone.record(self._known, microseconds(), outcome, admitted.owner))

    def force(self, state: State, *, forgets: bool = False) -> None:
        """Raises NotSharedError."""
        if self._ask(FORCE, state, int(forgets)) is None:
            raise NotSharedError("Redis does not answer, or takes no writes")

    def status(self) -> Status | None:
        """None with Redis away."""
        found = run(SHOW, self._keys)
        if found is None:
            return None
        known = self.see(found[:4])
        *_, wait, outcomes, bad = found
        return Status(state_of(known), known.state == "held", wait / MICROSECONDS, known.streak, outcomes, bad)

    @property
    def state(self) -> str:
        """As this process has last seen it: no I/O."""
        return state_of(self._known)

    @state.setter
    def state(self, state: str) -> None:
        self.force("held" if state == STATE_OPEN else "closed")

    # What pybreaker's own rules go by: consecutive failures, which are none of ours.
    counter = success_counter = 0
    opened_at = None  # type: ignore[override]

    def _ask(self, script: Script, *arguments: Any) -> Answer | None:
        seen = self._known if time.monotonic() - self._seen_at < SEEN_SECONDS else Known()
        found = run(script, self._keys, [seen.epoch, seen.state, seen.ends, seen.streak, *arguments])
        if found is None or found[0] == CANNOT_WRITE:
            return None
        verdict, *state, wait = found
        return Answer(verdict, self.see(state).epoch, wait)

    def see(self, fields: Sequence[Any]) -> Known:
        """Epoch, state, ends and streak, out of a script."""
        known = _known_of(fields)
        with self._lock:
            self._learn(known)
        return known

    def _learn(self, known: Known) -> None:
        """Answers to threads of one process may come in another order than Redis gave them."""
        if known.epoch >= self._known.epoch or time.monotonic() - self._seen_at >= SEEN_SECONDS:
            self._known, self._seen_at = known, time.monotonic()


class Log(pybreaker.CircuitBreakerListener):
    def state_change(self, cb: Any, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState) -> None:
        log = logger.info if new_state.name == STATE_CLOSED else logger.warning
        log("breaker_state", name=cb.name, state=new_state.name, before=old_state.name if old_state else None)


class Breaker(pybreaker.CircuitBreaker):
    """What counts as a failure: an error whose `counts` is true, and a result that is_slow.

    permit_seconds: how long a probe may take before there is another.
    """

    def __init__(self, name: str, is_slow: Callable[[Any], bool], permit_seconds: Callable[[], float]) -> None:
        self.storage = SharedStorage(name)
        exclude = [lambda error: not getattr(error, "counts", False)]
        super().__init__(name=name, state_storage=self.storage, exclude=exclude, listeners=[Log()])
        self._is_slow = is_slow
        self._permit_seconds = permit_seconds

    def call(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Raises what func raises; or BreakerOpenError."""
        return self._guarded(func, args, kwargs, is_retry=False)

    def call_again(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """A second attempt; raises NoRetryError, too."""
        return self._guarded(func, args, kwargs, is_retry=True)

    def _guarded(self, func: Callable[..., T], args: Any, kwargs: Any, *, is_retry: bool) -> T:
        """In place of pybreaker's, which holds its lock while func runs."""
        outcome: Outcome = "nothing"
        try:
            admitted = self.storage.admit(self._permit_seconds(), is_retry=is_retry)
        finally:
            self._notice()
        try:
            result = func(*args, **kwargs)
        except CallError as error:
            if self.is_system_error(error):
                outcome = "bad"
            elif isinstance(error, RejectedError | RefusedError):
                outcome = "rejected"
            raise
        else:
            outcome = "bad" if self._is_slow(result) else "good"
            return result
        finally:
            self.storage.record(admitted, outcome)
            self._notice()

    def see(self, fields: Sequence[Any]) -> None:
        """What a script with WAIT_LUA has found."""
        self.storage.see(fields)
        self._notice()

    def _notice(self) -> None:
        """Tells the listeners where the state is another one than this process knew."""
        _ = self.state

    def reset(self) -> None:
        self.storage.force("closed", forgets=True)
        self._notice()
