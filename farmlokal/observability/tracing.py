"""Spans, which OpenTelemetry exports if the environment switches it on. Without it, a span does nothing.

farmlokal.observability.spans has all that needs OpenTelemetry's packages; only this module imports it, when it is on.
OpenTelemetry's own instrumentations do not fit: our edge is no ASGI framework, and our clients of Redis and MySQL send
commands below the functions that those replace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, Self
from urllib.parse import urlsplit

from django.conf import settings

from farmlokal.observability import trace_context
from farmlokal.observability.trace_context import TraceContext

if TYPE_CHECKING:
    from types import TracebackType

Kind = Literal["server", "client", "internal"]
Attributes = Mapping[str, str | int]

PORTS = {"http": 80, "https": 443}
MAX_SQL_LENGTH = 2000


class Span(Protocol):
    """A context manager. An exception marks the span as failed, and goes on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def set(self, name: str, value: str | int) -> None: ...

    def fail(self, error_type: str) -> None: ...

    def headers(self) -> dict[str, str]:
        """For a call to another service, which this span is."""


class NoSpan:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set(self, name: str, value: str | int) -> None:
        pass

    def fail(self, error_type: str) -> None:
        pass

    def headers(self) -> dict[str, str]:
        return trace_context.child_headers()


_NO_SPAN = NoSpan()


def is_on() -> bool:
    return bool(settings.TRACES_URL)


def start() -> None:
    """Call it once in each process that serves or works, after its fork: it starts the exporter's thread."""
    if is_on():
        from farmlokal.observability import spans  # noqa: PLC0415  # an optional extra

        spans.start()


def task_span(name: str) -> Span:
    """Begins a trace for work that no request asked for."""
    return begin_span(None, name, {}, "internal") if is_on() else _NO_SPAN


def call_span(method: str, url: str) -> Span:
    """Of a call to another service. The query is left out, since it may have secrets."""
    if not _is_recorded():
        return _NO_SPAN
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    full = parts._replace(query="", fragment="").geturl()
    address: Attributes = {"server.address": parts.hostname or "", "server.port": port}
    return _part(method, {"http.request.method": method, "url.full": full, **address})


def sql_span(sql: str, database: str) -> Span:
    """sql: with placeholders, so that it has no values."""
    if not _is_recorded():
        return _NO_SPAN
    operation = sql.lstrip("( \n").partition(" ")[0].upper()
    text = {"db.operation.name": operation, "db.query.text": sql[:MAX_SQL_LENGTH]}
    return _part(operation, {"db.system.name": "mysql", "db.namespace": database, **text})


def redis_span(script: str) -> Span:
    if not _is_recorded():
        return _NO_SPAN
    named = {"db.operation.name": "EVALSHA", "db.stored_procedure.name": script}
    return _part(f"EVALSHA {script}", {"db.system.name": "redis", **named})


def _is_recorded() -> bool:
    """Outside of a trace, or if that is not sampled, its parts are not recorded."""
    return is_on() and (trace := trace_context.current()) is not None and trace.is_sampled


def _part(name: str, attributes: Attributes) -> Span:
    return begin_span(trace_context.current(), name, attributes, "client")


def begin_span(caller: TraceContext | None, name: str, attributes: Attributes, kind: Kind) -> Span:
    """Only while tracing is on. The sampler of OpenTelemetry decides whether it is recorded. caller: its parent."""
    from farmlokal.observability import spans  # noqa: PLC0415  # an optional extra

    return spans.RecordedSpan(caller, name, attributes, kind)
