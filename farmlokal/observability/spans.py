"""Spans by OpenTelemetry's SDK, exported over HTTP in batches by a thread. farmlokal.observability.tracing imports it.

Variables of OpenTelemetry configure exporter, sampler and resource (https://opentelemetry.io/docs/specs/otel/configuration/).
A dead collector costs spans, never a request.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Self

from django.conf import settings
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
)
from opentelemetry.trace import set_span_in_context as with_parent

from farmlokal.observability import trace_context
from farmlokal.observability.trace_context import TraceContext

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from farmlokal.observability.tracing import Attributes, Kind

SHUTDOWN_SECONDS = 2  # for the last spans, at the end of the process
NAME = "farmlokal"

_tracer: Tracer | None = None


def start() -> None:
    global _tracer  # noqa: PLW0603  # one for each process
    for name in [name for name, value in os.environ.items() if name.startswith("OTEL_") and not value.strip()]:
        del os.environ[name]  # an empty variable means the default
    configured = OTELResourceDetector().detect().attributes
    resource = Resource.create({"service.name": NAME, "service.version": settings.VERSION, **configured})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.TRACES_URL)))
    atexit.register(_stop, provider)
    _tracer = provider.get_tracer(NAME)


def _stop(provider: TracerProvider) -> None:
    """The SDK's own shutdown waits up to 30 s for a dead collector."""
    thread = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    thread.start()
    thread.join(SHUTDOWN_SECONDS)


class RecordedSpan:
    """caller: the parent; without a parent_id the span is the first of a new trace."""

    def __init__(self, caller: TraceContext | None, name: str, attributes: Attributes, kind: Kind) -> None:
        assert _tracer is not None, "start() has not run"  # noqa: S101
        parent = _context_of(caller) if caller and caller.parent_id else Context()
        self._span = _tracer.start_span(name, parent, SpanKind[kind.upper()], attributes)
        own = self._span.get_span_context()
        self._id = f"{own.span_id:016x}"
        self._trace = TraceContext(
            f"{own.trace_id:032x}", self._id, own.trace_flags.sampled, own.trace_state.to_header()
        )
        self._before: Token[TraceContext | None]

    def __enter__(self) -> Self:
        self._before = trace_context.enter(self._trace)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        trace_context.leave(self._before)
        if kind:
            self.fail(kind.__qualname__)  # without the exception's text, which may have secrets
        self._span.end()

    def set(self, name: str, value: str | int) -> None:
        self._span.set_attribute(name, value)

    def fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(Status(StatusCode.ERROR))

    def headers(self) -> dict[str, str]:
        return self._trace.headers(self._id)


def _context_of(caller: TraceContext) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if caller.is_sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([caller.state]) if caller.state else None  # reading an empty one takes 50 µs
    context = SpanContext(int(caller.trace_id, 16), int(caller.parent_id, 16), True, flags, state)
    return with_parent(NonRecordingSpan(context), Context())
