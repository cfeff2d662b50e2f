"""The views of liveness, readiness and metrics, for the platform that runs the service."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import MySQLdb
import structlog
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from prometheus_client import CONTENT_TYPE_LATEST
from redis import RedisError
from redis.exceptions import ReadOnlyError
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.request import Request
from rest_framework.response import Response

from farmlokal.http.problems import RETRY_AFTER_SECONDS, Problem
from farmlokal.mysql.driver import connect
from farmlokal.mysql.errors import TOO_MANY_CONNECTIONS
from farmlokal.mysql.replicas import HAS_REACHED, POSITION, replicas
from farmlokal.mysql.watchdog import variable_of
from farmlokal.observability.metrics import exposition
from farmlokal.openapi import service
from farmlokal.ratelimit.client_identity import client_of_request
from farmlokal.redis.client import ask_all
from farmlokal.redis.scripts import WRITE_AND_DELETE
from integrations.partner.client import BREAKERS
from integrations.webhooks import backlog
from products.models import Product

CHECK_TIMEOUT_SECONDS = 1
CHECK_LIFETIME_SECONDS = 1
FORWARDING_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
IS_READ_ONLY = "@@global.read_only NOT IN ('0', 'OFF') OR @@global.innodb_read_only"  # newer servers say OFF
COMPLETE = {"up", "behind"}  # a replica that is behind serves no page yet, which costs the primary only

State: TypeAlias = Literal["up", "down", "read-only", "behind"]
T = TypeVar("T")

logger = structlog.get_logger(__name__)


@service.livez
@api_view(["GET", "HEAD"])
@authentication_classes([])
def livez(request: Request) -> Response:
    """Always 200, without I/O."""
    return Response({"status": "ok"})


@service.readyz
@api_view(["GET", "HEAD"])
@authentication_classes([])
def readyz(request: Request) -> Response:
    """200 while the service can list products, for which it needs MySQL but neither Redis nor the partner; else 503."""
    document, headers = readiness(), {"Cache-Control": "no-store"}
    if document["status"] != "unavailable":
        return Response(document, headers=headers)
    return Response(document, status=503, headers=headers | {"Retry-After": str(RETRY_AFTER_SECONDS)})


def readiness() -> dict[str, Any]:
    checks, breakers = _checks(), _breakers()
    is_complete = COMPLETE.issuperset(checks.values()) and "open" not in breakers.values()
    status = "unavailable" if checks["mysql"] == "down" else "ok" if is_complete else "degraded"
    return {"status": status, "checks": dict(checks), "breakers": breakers}


@service.metrics
@api_view(["GET", "HEAD"])
@authentication_classes([])
def metrics(request: Request) -> HttpResponse:
    """Prometheus text for clients with METRICS_TOKEN or, if that is not set, for this machine."""
    if not settings.METRICS:
        raise Problem("not-found", service.METRICS_ARE_OFF)
    if settings.METRICS_TOKEN:
        authorization = request.headers.get("Authorization", "")
        if not constant_time_compare(authorization, f"Bearer {settings.METRICS_TOKEN}"):
            raise Problem("not-authenticated", service.METRICS_NEED_TOKEN, headers={"WWW-Authenticate": "Bearer"})
    elif not _is_from_this_machine(request):
        raise Problem("permission-denied", service.METRICS_ARE_LOCAL)
    is_up = {name: state in COMPLETE for name, state in _checks().items()}
    text = exposition(is_up, _breakers(), _backlog())
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def _is_from_this_machine(request: Request) -> bool:
    """Whether it came without a proxy: one on the same machine forwards requests of others."""
    client = client_of_request(request._request)
    is_loopback = client == "::/64" or client.startswith("127.")
    return is_loopback and not any(header in request.headers for header in FORWARDING_HEADERS)


class Latest(Generic[T]):
    """One thread at a time asks; all threads share the result for a second."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._result: T | None = None
        self._ends = 0.0

    def get(self) -> T:
        with self._lock:
            if self._result is None or time.monotonic() >= self._ends:
                self._result = self._ask()
                self._ends = time.monotonic() + CHECK_LIFETIME_SECONDS
            return self._result


def _ask_all() -> Mapping[str, State]:
    asks: dict[str, Callable[[], State]] = {"mysql": _ask_mysql, "redis": _ask_redis}
    if names := replicas():
        position = _position()
        asks |= {f"mysql_{alias}": partial(_ask_replica, alias, position) for alias in names}
    return {name: _state(name, ask) for name, ask in asks.items()}


def _count_webhooks() -> Mapping[str, int]:
    """Failed webhooks by status; none without MySQL."""
    if _checks()["mysql"] == "down":
        return {}
    try:
        return backlog.numbers()
    except DatabaseError as error:
        logger.warning("backlog_unavailable", error=str(error))
        return {}
    finally:
        return_connection()


_checks = Latest(_ask_all).get
_backlog = Latest(_count_webhooks).get


def return_connection() -> None:
    """The threads of checks wait for MySQL on connections of their own, and hold none between requests."""
    if not connection.in_atomic_block:
        connection.close()


def _breakers() -> dict[str, str]:
    return {breaker.name: breaker.current_state() for breaker in BREAKERS}


def _state(name: str, ask: Callable[[], State]) -> State:
    try:
        state = ask()
    except (MySQLdb.Error, RedisError, OSError, ValueError) as error:
        logger.warning("dependency_down", name=name, error=str(error))
        return "down"
    if state not in COMPLETE:
        logger.warning("dependency_down", name=name, error=f"It is {state}.")
    return state


def _ask_mysql() -> State:
    """Query over a new connection with short time limits. Too many connections counts as up: requests have theirs."""
    statement = f"SELECT {IS_READ_ONLY}, (SELECT 1 FROM {Product._meta.db_table} LIMIT 1)"  # noqa: S608  # constants
    try:
        ((is_read_only, _),) = _probe(DEFAULT_DB_ALIAS, statement)
    except MySQLdb.OperationalError as error:
        if error.args[0] in TOO_MANY_CONNECTIONS:
            return "up"
        raise
    return "read-only" if is_read_only else "up"


def _position() -> str:
    """Of the primary. "", which every server has reached, if the primary is away."""
    try:
        ((position,),) = _probe(DEFAULT_DB_ALIAS, POSITION)
    except MySQLdb.Error:
        return ""
    return str(position or "")


def _ask_replica(alias: str, position: str) -> State:
    ((has_reached,),) = _probe(alias, HAS_REACHED, [position, position])
    return "up" if has_reached else "behind"


def _probe(alias: str, statement: str, parameters: Sequence[Any] = ()) -> Sequence[Sequence[Any]]:
    with contextlib.closing(
        connect(connections[alias].get_connection_params(), CHECK_TIMEOUT_SECONDS, variable_of(alias))
    ) as probe:
        cursor = probe.cursor()
        cursor.execute(statement, parameters)
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
        return rows


def _ask_redis() -> State:
    """Run a script that writes: a Redis that answers a PING may refuse scripts, be read-only or be full."""
    try:
        ask_all(WRITE_AND_DELETE)
    except ReadOnlyError:
        return "read-only"
    return "up"
