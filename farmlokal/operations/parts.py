"""The state of each part of the service in words: a level, a line, and a few facts."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from django.db.models import Count, Q, Sum
from django.utils import timezone
from django.utils.formats import date_format
from pybreaker import STATE_CLOSED, STATE_OPEN

from accounts.tokens import token_state
from farmlokal.jobs.models import Job
from farmlokal.operations.servers import duration, mysql_numbers, redis_numbers
from integrations.breaker.breaker import Breaker
from integrations.partner.client import BREAKERS
from integrations.webhooks.backlog import MAX_COUNTED, RECENT, backlog

Level = Literal["good", "warning", "bad", "unknown"]


class Part(NamedTuple):
    name: str
    level: Level
    state: str
    facts: Mapping[str, str] = {}


def parts(checks: Mapping[str, str]) -> Iterator[Part]:
    """checks: of readiness()."""
    yield Part("MySQL", _level(checks["mysql"]), checks["mysql"], mysql_numbers())
    yield Part("Redis", _level(checks["redis"]), checks["redis"], redis_numbers())
    for name in sorted(checks.keys() - {"mysql", "redis"}):
        yield Part(name, _level(checks[name]), checks[name])
    yield from map(_breaker, BREAKERS)
    yield _token()
    yield _webhooks()
    yield _jobs()


def moment(seconds: float) -> str:
    """In the time zone of staff."""
    return date_format(timezone.localtime(dt.datetime.fromtimestamp(seconds, dt.UTC)), "j M H:i:s")


def _level(check: str) -> Level:
    return "good" if check == "up" else "bad" if check == "down" else "warning"


def _breaker(breaker: Breaker) -> Part:
    name, status = f"Breaker: {breaker.name}", breaker.status()
    if status is None:
        return Part(name, "unknown", f"each process decides alone without Redis; here it is {breaker.state}")
    levels: dict[str, Level] = {STATE_CLOSED: "good", STATE_OPEN: "bad"}
    return Part(name, levels.get(status.state, "warning"), status.text)


def _token() -> Part:
    """Never the token itself."""
    name, state = "Access token for the partner", token_state()
    if state is None:
        return Part(name, "unknown", "OAUTH_TOKEN_URL is not set")
    if not state.fetched_at:
        return Part(name, "unknown", "no call has needed one yet")
    is_valid = state.valid_until > time.time()
    facts = {"Valid until": moment(state.valid_until)} if state.valid_until else {}
    facts["Last request"] = f"{moment(state.fetched_at)}: {state.failure or 'succeeded'}"
    level: Level = "good" if is_valid and not state.failure else "warning"
    if is_valid:
        return Part(name, level, "valid" if level == "good" else "valid, but the last request failed", facts)
    # It expires when no call needs it; the next call fetches another one.
    return Part(name, "bad" if state.failure else "good", "missing" if state.failure else "expired unused", facts)


def _webhooks() -> Part:
    log = backlog()
    facts = {"Failed": _at_most(log.failed), "Dead": _at_most(log.dead)}
    if log.oldest:
        facts["Oldest failure"] = moment(log.oldest.timestamp())
    facts["Median delay"] = f"{duration(log.median_delay)} from receipt to the last attempt"
    facts["Longest delay"] = f"{duration(log.longest_delay)} among the newest {RECENT}"
    state = "events have failed" if log.failed or log.dead else "no failed events"
    return Part("Webhooks", "bad" if log.dead else "warning" if log.failed else "good", state, facts)


def _at_most(count: int) -> str:
    return f"{count:,} or more" if count == MAX_COUNTED else str(count)


def _jobs() -> Part:
    """Of jobs that are unfinished, or have failed in the last day. One statement."""
    is_unfinished = Q(status__in=(Job.Status.RUNNING, Job.Status.STOPPED))
    is_failed = Q(status=Job.Status.FAILED, updated_at__gte=timezone.now() - dt.timedelta(days=1))
    numbers = Job.objects.filter(is_unfinished | is_failed).aggregate(
        running=Count("pk", filter=Q(status=Job.Status.RUNNING)),
        stopped=Count("pk", filter=Q(status=Job.Status.STOPPED)),
        broken=Count("pk", filter=is_failed),
        items=Sum("done", filter=is_unfinished, default=0),
        failures=Sum("failed", filter=is_unfinished, default=0),
    )
    unfinished = numbers["running"] + numbers["stopped"]
    facts = {
        "Running": str(numbers["running"]),
        "Stopped": str(numbers["stopped"]),
        "Their items": f"{numbers['items']:,} done, of which {numbers['failures']:,} failed",
        "Failed in a day": str(numbers["broken"]),
    }
    return Part("Jobs", "warning" if numbers["broken"] else "good", f"{unfinished} unfinished", facts)
