"""Logs on standard output: one JSON object a line, or text on a terminal, and one line for each request.

All lines of a request carry its request_id and trace_id.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from random import getrandbits
from typing import Any
from urllib.parse import unquote_plus

import orjson
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from farmlokal.observability import metrics, request_costs, trace_context
from farmlokal.observability.log_formats import Pretty, escaped, is_pretty, to_json
from farmlokal.request_state import state_of

LOG_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
MAX_QUERY_LENGTH = 512  # of a query in the log
HIDDEN = "…"
# Django splits a query at & only, but clients also write ; or a second ? by mistake.
PARAMETER = re.compile("[^&;?]+")

logger = structlog.get_logger("farmlokal.requests")

# For all records: ours and those of Django, gunicorn and other libraries.
_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.format_exc_info,
]


def logging_config(level: str, log_format: str, reporters: Sequence[structlog.typing.Processor] = ()) -> dict[str, Any]:
    """Return a dictConfig for Django (LOGGING) and gunicorn (logconfig_dict), and configure structlog.

    reporters: processors that see each event before its exception becomes text.
    """
    if sys.stdout is None:  # closed, as by >&-
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the process lives
    global _line_of_request  # noqa: PLW0603  # one for each process
    pretty = Pretty() if is_pretty(log_format) else None
    _line_of_request = pretty.request if pretty else _json_of_request
    *first, format_exception = _PROCESSORS
    processors = [*first, *reporters, format_exception]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *processors,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [structlog.stdlib.PositionalArgumentsFormatter(), *processors],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    pretty or structlog.processors.JSONRenderer(serializer=to_json),
                ],
            }
        },
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"}},
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            # Without Django's own handlers: all records reach the root, once.
            "django": {"handlers": [], "level": level},
            "django.server": {"handlers": [], "propagate": True},
            # We log 4xx in the request line and 5xx where they are handled; Django would log both again.
            "django.request": {"level": "CRITICAL"},
            "django.security": {"level": "CRITICAL"},
            # At DEBUG it would log the whole context of a page, with its request, for each variable that is not set.
            "django.template": {"level": "CRITICAL"},
            # It would log headers for the collector if they are malformed. They are secrets.
            "opentelemetry.util.re": {"level": "CRITICAL"},
            "gunicorn.error": {"handlers": [], "propagate": True, "level": level},
        },
    }


def request_id_of(header: str) -> str:
    """Return the client's X-Request-ID if it is well-formed, else a new id."""
    return header if header and REQUEST_ID.fullmatch(header) else f"{getrandbits(128):032x}"  # not a secret


@lru_cache(maxsize=256)
def template_of(route: str) -> str:
    """Write a route of urls.py as /products/{pk}."""
    return "/" + re.sub(r"<(?:[a-z]+:)?(\w+)>", r"{\1}", route)


@lru_cache(maxsize=1)
def is_on() -> bool:
    return settings.ACCESS_LOG and logging.getLogger("farmlokal.requests").isEnabledFor(logging.INFO)


_parameters: dict[str, frozenset[str]] = {}  # by route: the names of parameters whose values are logged


def show_parameters(route: str, names: Iterable[str]) -> None:
    """Log the values of these query parameters of a route. For other parameters only names are logged."""
    _parameters[route] = frozenset(names)


@lru_cache(maxsize=1024)
def _without_secrets(query: str, route: str | None) -> str:
    shown = _parameters.get(route or "", frozenset())

    def shown_or_hidden(match: re.Match[str]) -> str:
        name, _, value = match[0].partition("=")
        if unquote_plus(name) in shown:
            return match[0]
        # A name without a value may be a token with base64 padding.
        return f"{name}={HIDDEN}" if value.strip("=") else HIDDEN

    return PARAMETER.sub(shown_or_hidden, query)


def loggable(query: str, route: str | None) -> str:
    """Hide values that may be secrets, such as an access token that a client put into the query by mistake."""
    if len(query) > MAX_QUERY_LENGTH:
        return _without_secrets(query[:MAX_QUERY_LENGTH], route) + HIDDEN
    return _without_secrets(query, route) if query else ""


def log_request(
    request_id: str,
    trace_id: str,
    method: str,
    path: str,
    query: str,
    route: str | None,
    status: int,
    seconds: float,
    peer: str,
) -> None:
    """Write the line of an answered request; the caller calls flush(). structlog would take as long as a cached page.

    A line that cannot be written, such as on a full disk, is lost.
    """
    line = {
        "method": method,
        "path": path,
        "query": loggable(query, route),
        "route": route,
        "status": status,
        "milliseconds": round(seconds * 1000, 2),
        "peer": peer,
        "event": "request",
        "request_id": request_id,
        "trace_id": trace_id,
        "level": "info",
        "logger": "farmlokal.requests",
        "time": dt.datetime.now(dt.UTC),
    }
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(_line_of_request(line) + b"\n")


def flush() -> None:
    with contextlib.suppress(OSError):
        sys.stdout.flush()


def _json_of_request(line: dict[str, Any]) -> bytes:
    return escaped(orjson.dumps(line, option=orjson.OPT_UTC_Z))


_line_of_request: Callable[[dict[str, Any]], bytes] = _json_of_request  # in the configured format


class RequestLogMiddleware:
    """The outermost layer: gives each request its id, and logs one line for it if ACCESS_LOG is on.

    It also drops the body of an answer to HEAD, about which gunicorn would warn, and the Content-Length: 0 that Django
    puts on a 304 (RFC 9110, 8.6: a 304 has the length of the 200, or none).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        state = state_of(request)
        request_costs.current.clear()
        request_id = request_id_of(request.headers.get("X-Request-ID", ""))
        trace = state.trace or trace_context.of_request(
            request.headers.get("traceparent", ""), request.headers.get("tracestate", ""), request_id
        )
        ids = structlog.contextvars.bound_contextvars(request_id=request_id, trace_id=trace.trace_id)
        with ids, trace_context.within(trace):
            response = self.get_response(request)
            response["X-Request-ID"] = request_id
            if request.method == "HEAD" and isinstance(response, HttpResponse):
                response.content = b""  # keeps the Content-Length of the GET
            if response.status_code == HTTPStatus.NOT_MODIFIED:
                del response["Content-Length"]
            match = request.resolver_match
            seconds = time.monotonic() - state.arrived_at  # with the wait for a thread
            route = template_of(match.route) if match else None
            metrics.count_request(route, request.method or "", response.status_code, seconds)
            metrics.count_cost(route, request_costs.current.statements, request_costs.current.commands)
            if is_on():
                query, peer = request.META.get("QUERY_STRING", ""), request.META.get("REMOTE_ADDR", "")
                method, status = request.method or "", response.status_code
                log_request(request_id, trace.trace_id, method, request.path, query, route, status, seconds, peer)
                flush()
        return response
