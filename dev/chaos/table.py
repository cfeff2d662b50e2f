"""The fault table: each fault, and what the service promises meanwhile."""

from __future__ import annotations

from typing import Any

from dev.chaos import faults
from dev.chaos.faults import Fault
from dev.chaos.samples import LOST, NO_DATABASE, OUTDATED, Kind
from dev.chaos.trial import NONE, Answers, Row

UNAVAILABLE = frozenset({NO_DATABASE})
IN_PROGRESS = frozenset({"409 webhook-in-progress"})
KEY_IN_USE = frozenset({"409 idempotency-conflict"})
NO_PARTNER = frozenset({"503 partner-unavailable", "504 partner-timeout"})

# Writes that were on their way may still hold their locks.
INTERRUPTED: Answers = {Kind.WRITE: KEY_IN_USE, Kind.WEBHOOK: IN_PROGRESS}
WITHOUT_MYSQL: Answers = {
    **dict.fromkeys([Kind.NEW, Kind.QUOTE, Kind.LAST_QUOTE], UNAVAILABLE),
    Kind.CHANGED: UNAVAILABLE | {OUTDATED},
    Kind.WRITE: UNAVAILABLE | KEY_IN_USE,
    Kind.WEBHOOK: UNAVAILABLE | IN_PROGRESS,
}
WITHOUT_BOTH: Answers = {**WITHOUT_MYSQL, Kind.BEARER: UNAVAILABLE, Kind.LIMITED: UNAVAILABLE}

BYPASS = (Kind.HOT, "200 bypass")
REFUSED_PAGE = (Kind.NEW, NO_DATABASE)
LOST_COMMIT_SECONDS = 12  # if a commit's answer is lost, pages stay out of the cache for 10 s

ALL = "everything"
BY_PROCESS = "everything; each process counts rate limits itself"
CACHED_PAGES = "cached pages, as they were; the rest is 503 `database-unavailable`"
NOT_NEW_QUOTES = "all but new quotes, which are 503 or 504"


def redis(name: str, fault: Fault, promise: str = ALL, **more: Any) -> Row:
    return Row(f"Redis {name}", promise, fault, **more)


def mysql(name: str, fault: Fault, promise: str = ALL, allowed: Answers = NONE, **more: Any) -> Row:
    return Row(f"MySQL {name}", promise, fault, allowed, **more)


def mysql_away(name: str, fault: Fault, promise: str = CACHED_PAGES) -> Row:
    return mysql(name, fault, promise, WITHOUT_MYSQL, heal_seconds=LOST_COMMIT_SECONDS, shows=REFUSED_PAGE)


def worker(name: str, fault: Fault, promise: str, heal_seconds: float, allowed: Answers = INTERRUPTED) -> Row:
    return Row(name, promise, fault, allowed, heal_seconds=heal_seconds, is_momentary=True)


def clock(name: str, fault: Fault) -> Row:
    """Webhooks are signed with their time."""
    promise = "all but webhooks, which are 401 `signature-invalid`"
    shows = (Kind.WEBHOOK, "401 signature-invalid")
    return Row(f"Clock set an hour {name}", promise, fault, {Kind.WEBHOOK: frozenset({shows[1]})}, shows=shows)


def partner(name: str, fault: Fault) -> Row:
    """The breaker opens, and looks again after 5 s, then 10 s."""
    return Row(name, NOT_NEW_QUOTES, fault, {Kind.QUOTE: NO_PARTNER}, heal_seconds=20)


ROWS = [
    redis("killed", faults.redis_killed, BY_PROCESS, shows=BYPASS),
    redis("frozen", faults.redis_frozen, BY_PROCESS, shows=BYPASS, heal_seconds=4),
    redis("slow", faults.redis_slow, BY_PROCESS, shows=BYPASS, heal_seconds=4),
    redis("unreachable", faults.redis_unreachable, BY_PROCESS, shows=BYPASS, heal_seconds=4),
    redis("read-only", faults.redis_read_only, BY_PROCESS, shows=BYPASS),
    redis("full", faults.redis_full, "everything; new pages are not stored"),
    redis("flushed", faults.redis_flushed, "everything; each page is rendered again"),
    redis("restored from old data", faults.redis_restored, "everything; no page is older than the last write"),
    redis("clock set an hour ahead", faults.redis_clock_ahead),
    redis("clock set an hour back", faults.redis_clock_back),
    mysql_away("killed", faults.mysql_killed),
    mysql_away("killed in a transaction", faults.mysql_killed_in_transaction, f"{CACHED_PAGES}; no write is lost"),
    mysql_away("frozen", faults.mysql_frozen),
    mysql_away("unreachable", faults.mysql_unreachable),
    mysql_away("connections exhausted", faults.connections_exhausted),
    mysql(
        "connections killed",
        faults.connections_killed,
        "everything; statements under way are 503 `database-unavailable`",
        heal_seconds=LOST_COMMIT_SECONDS,
    ),
    mysql("connections closed when idle", faults.idle_connections_closed, heal_seconds=LOST_COMMIT_SECONDS),
    mysql(
        "read-only",
        faults.mysql_read_only,
        "reads and quotes; writes are 503 `database-unavailable`",
        {Kind.WRITE: UNAVAILABLE, Kind.WEBHOOK: UNAVAILABLE},
        shows=(Kind.WRITE, NO_DATABASE),
    ),
    mysql(
        "rows locked",
        faults.lock_waits,
        "all but writes of these rows: webhooks are 409 after 2 s",
        {Kind.WEBHOOK: IN_PROGRESS},
        shows=(Kind.WEBHOOK, "409 webhook-in-progress"),
    ),
    mysql("deadlocks", faults.deadlocks, "everything; the transaction runs again"),
    mysql(
        "temporary tables full",
        faults.temporary_tables_full,
        "all but searches that are in no cache, which are 503 `database-unavailable`",
        {Kind.NEW: UNAVAILABLE},
        heal_seconds=LOST_COMMIT_SECONDS,
        shows=REFUSED_PAGE,
    ),
    Row(
        "MySQL and Redis killed",
        "pages in the memory of the process; the rest is 503 `database-unavailable`",
        faults.mysql_and_redis_killed,
        WITHOUT_BOTH,
        heal_seconds=LOST_COMMIT_SECONDS,
        shows=(Kind.HOT, "200 stale"),
    ),
    worker("Worker killed", faults.worker_killed, "all but requests on its connections", LOST_COMMIT_SECONDS),
    worker(
        "All workers killed",
        faults.all_workers_killed,
        "nothing until a worker has started; new connections wait",
        LOST_COMMIT_SECONDS,
        {kind: frozenset({LOST, *INTERRUPTED.get(kind, ())}) for kind in Kind},
    ),
    Row("Event loop blocked", "all but requests on its connections, which wait", faults.worker_blocked),
    worker(
        "Event loop blocked for good",
        faults.worker_hung,
        "all but requests on its connections; gunicorn replaces the worker after 30 s",
        heal_seconds=45,
    ),
    clock("ahead", faults.clock_ahead),
    clock("back", faults.clock_back),
    Row("Disk of the log full", "everything; log lines are lost", faults.log_full),
    partner("Partner dead", faults.partner_dead),
    partner("Partner unreachable", faults.partner_unreachable),
    partner("Partner name unresolved", faults.names_dead),
    Row("Token provider dead", "everything, with the token that we have", faults.provider_dead),
    partner("Token provider dead, token revoked", faults.provider_dead_token_revoked),
    Row("Token keys unreachable", "everything, with the keys that we have", faults.keys_dead),
]
