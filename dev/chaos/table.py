"""The fault table: each fault, and what the service promises meanwhile."""

from __future__ import annotations

from typing import Any

from dev.chaos.faults import machine, mysql, outside, redis, together, workers
from dev.chaos.faults.harm import Fault
from dev.chaos.rows import NONE, Answers, Row
from dev.chaos.samples import LOST, NO_DATABASE, OUTDATED, Kind

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
# A worker that stops while it renders a page keeps that page's lock for LOCK_SECONDS. Several callers read these pages.
SHARED_PAGES: Answers = dict.fromkeys([Kind.HOT, Kind.BEARER, Kind.LIMITED, Kind.CHANGED], frozenset())
WITHOUT_BOTH: Answers = {**WITHOUT_MYSQL, Kind.BEARER: UNAVAILABLE, Kind.LIMITED: UNAVAILABLE}

BYPASS = (Kind.HOT, "200 bypass")
REFUSED_PAGE = (Kind.NEW, NO_DATABASE)
LOST_COMMIT_SECONDS = 12  # if a commit's answer is lost, pages stay out of the cache for 10 s

ALL = "everything"
BY_PROCESS = "everything; each process counts rate limits itself"
NEW_LIMITS = "everything; rate limits start over"
CACHED_PAGES = "cached pages, as they were; the rest is 503 `database-unavailable`"
NOT_NEW_QUOTES = 'all but new quotes, which are 503 or 504; known ones are the last, with `"stale": true`'


def redis_row(name: str, fault: Fault, promise: str = ALL, **more: Any) -> Row:
    return Row(f"Redis {name}", promise, fault, **more)


def mysql_row(name: str, fault: Fault, promise: str = ALL, allowed: Answers = NONE, **more: Any) -> Row:
    return Row(f"MySQL {name}", promise, fault, allowed, **more)


def mysql_away_row(name: str, fault: Fault, promise: str = CACHED_PAGES, **more: Any) -> Row:
    return mysql_row(name, fault, promise, WITHOUT_MYSQL, heal_seconds=LOST_COMMIT_SECONDS, shows=REFUSED_PAGE, **more)


def worker_row(name: str, fault: Fault, promise: str, heal_seconds: float, allowed: Answers = INTERRUPTED) -> Row:
    return Row(name, promise, fault, allowed, heal_seconds=heal_seconds, is_momentary=True, ends_workers=True)


def clock_row(name: str, fault: Fault) -> Row:
    """Webhooks are signed with their time."""
    promise = "all but webhooks, which are 401 `signature-invalid`"
    shows = (Kind.WEBHOOK, "401 signature-invalid")
    return Row(f"Clock set an hour {name}", promise, fault, {Kind.WEBHOOK: frozenset({shows[1]})}, shows=shows)


def partner_row(name: str, fault: Fault) -> Row:
    """The breaker opens, and looks again after 5 s, then 10 s."""
    return Row(name, NOT_NEW_QUOTES, fault, {Kind.QUOTE: NO_PARTNER}, heal_seconds=20)


ROWS = [
    redis_row("killed", redis.killed, BY_PROCESS, shows=BYPASS),
    redis_row("frozen", redis.frozen, BY_PROCESS, shows=BYPASS, heal_seconds=4),
    redis_row("slow", redis.slow, BY_PROCESS, shows=BYPASS, heal_seconds=4),
    redis_row("unreachable", redis.unreachable, BY_PROCESS, shows=BYPASS, heal_seconds=4),
    redis_row("read-only", redis.read_only, BY_PROCESS, shows=BYPASS),
    redis_row("full", redis.full, "everything; new pages are not stored"),
    redis_row("flushed", redis.flushed, "everything; pages and rate limits start over", resets_limits=True),
    redis_row(
        "restored from old data",
        together.redis_restored,
        "everything; no page is older than the last write. (MySQL is read-only meanwhile.)",
        allowed={Kind.WRITE: UNAVAILABLE, Kind.WEBHOOK: UNAVAILABLE},
        shows=BYPASS,
    ),
    redis_row("clock set an hour ahead", machine.redis_clock_ahead, NEW_LIMITS, resets_limits=True),
    redis_row("clock set an hour back", machine.redis_clock_back, NEW_LIMITS, resets_limits=True),
    mysql_away_row("killed", mysql.killed),
    mysql_away_row("killed in a transaction", mysql.killed_in_transaction, f"{CACHED_PAGES}; no write is lost"),
    mysql_away_row("frozen", mysql.frozen, f"{CACHED_PAGES}, once its silence is noticed (1.3 s)"),
    mysql_away_row("unreachable", mysql.unreachable),
    mysql_away_row("connections exhausted", mysql.connections_exhausted),
    mysql_row(
        "connections killed",
        mysql.connections_killed,
        "everything; statements under way are 503 `database-unavailable`",
        heal_seconds=LOST_COMMIT_SECONDS,
    ),
    mysql_row("connections closed when idle", mysql.idle_connections_closed, heal_seconds=LOST_COMMIT_SECONDS),
    mysql_row(
        "read-only",
        mysql.read_only,
        "reads and quotes; writes are 503 `database-unavailable`",
        {Kind.WRITE: UNAVAILABLE, Kind.WEBHOOK: UNAVAILABLE},
        shows=(Kind.WRITE, NO_DATABASE),
    ),
    mysql_row(
        "rows locked",
        mysql.lock_waits,
        "all but writes of these rows: webhooks are 409 after 2 s",
        {Kind.WEBHOOK: IN_PROGRESS},
        shows=(Kind.WEBHOOK, "409 webhook-in-progress"),
    ),
    mysql_row("deadlocks", mysql.deadlocks, "everything; the transaction runs again"),
    mysql_row(
        "temporary tables full",
        mysql.temporary_tables_full,
        "all but searches that are in no cache, which are 503 `database-unavailable`",
        {Kind.NEW: UNAVAILABLE},
        heal_seconds=LOST_COMMIT_SECONDS,
        shows=REFUSED_PAGE,
    ),
    Row(
        "MySQL and Redis killed",
        "pages in the memory of the process; the rest is 503 `database-unavailable`",
        together.both_killed,
        WITHOUT_BOTH,
        heal_seconds=LOST_COMMIT_SECONDS,
        shows=(Kind.HOT, "200 stale"),
    ),
    worker_row("Worker killed", workers.killed, "all but requests on its connections", LOST_COMMIT_SECONDS),
    worker_row(
        "Worker killed, temporary files gone",
        workers.killed_without_metrics,
        "all but requests on its connections; the counts for `/metrics` start over",
        LOST_COMMIT_SECONDS,
    ),
    worker_row(
        "All workers killed",
        workers.all_killed,
        "nothing until a worker has started; new connections wait",
        LOST_COMMIT_SECONDS,
        {kind: frozenset({LOST, *INTERRUPTED.get(kind, ())}) for kind in Kind},
    ),
    Row(
        "Event loop blocked",
        "all but requests on its connections, which wait, and for a page that it renders (3 s)",
        workers.blocked,
        SHARED_PAGES,
    ),
    worker_row(
        "Event loop blocked for good",
        workers.hung,
        "all but requests on its connections; gunicorn replaces the worker after 30 s",
        heal_seconds=45,
    ),
    clock_row("ahead", machine.clock_ahead),
    clock_row("back", machine.clock_back),
    Row("Disk of the log full", "everything; log lines are lost", machine.log_full),
    partner_row("Partner dead", outside.partner_dead),
    partner_row("Partner unreachable", outside.partner_unreachable),
    partner_row("Partner name unresolved", outside.names_dead),
    Row("Token provider dead", "everything, with the token that we have", outside.provider_dead),
    partner_row("Token provider dead, token revoked", outside.provider_dead_token_revoked),
    Row("Token keys unreachable", "everything, with the keys that we have", outside.keys_dead),
]
