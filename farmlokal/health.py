"""Liveness and readiness, for the platform that runs the service."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import MySQLdb
import structlog
from django.db import connection
from django_redis import get_redis_connection
from redis import RedisError
from rest_framework.decorators import api_view
from rest_framework.response import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from rest_framework.request import Request

CHECK_TIMEOUT_SECONDS = 1

logger = structlog.get_logger(__name__)


@api_view(["GET", "HEAD"])
def livez(request: Request) -> Response:
    """200 as long as the process answers: no I/O."""
    return Response({"status": "ok"})


@api_view(["GET", "HEAD"])
def readyz(request: Request) -> Response:
    """200 while the listing can be served, which takes MySQL but not Redis; else 503."""
    checks = {"mysql": _is_up("mysql", _ask_mysql), "redis": _is_up("redis", _ask_redis)}
    status = "unavailable" if not checks["mysql"] else "ok" if all(checks.values()) else "degraded"
    answer = {"status": status, "checks": {name: "up" if up else "down" for name, up in checks.items()}}
    return Response(answer, status=503 if status == "unavailable" else 200, headers=_headers(status))


def _headers(status: str) -> dict[str, str]:
    retry = {"Retry-After": "5"} if status == "unavailable" else {}
    return {"Cache-Control": "no-store"} | retry


def _is_up(name: str, ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except (MySQLdb.Error, RedisError, OSError) as error:
        logger.warning("dependency_down", name=name, error=str(error))
        return False
    return True


def _ask_mysql() -> None:
    """Over a connection of its own: a frozen server is found in time, and so is one that is full."""
    limits = dict.fromkeys(["connect_timeout", "read_timeout", "write_timeout"], CHECK_TIMEOUT_SECONDS)
    with contextlib.closing(MySQLdb.connect(**connection.get_connection_params() | limits)) as probe:
        probe.query("SELECT 1")


def _ask_redis() -> None:
    get_redis_connection("default").ping()
