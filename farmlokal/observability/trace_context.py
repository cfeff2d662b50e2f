"""The trace that a request belongs to: W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/).

A valid traceparent of the caller is kept. Otherwise a trace begins here. Log lines carry its id, and calls to other
services carry it on. None of this needs OpenTelemetry.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar, Token
from random import getrandbits
from typing import NamedTuple

VERSION = "00"
LENGTH = 55  # of a traceparent of version 00; later versions may append fields
TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL
)
TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
SAMPLED = 0x01
MAX_STATE_LENGTH, MAX_STATE_MEMBERS = 512, 32
STATE_MEMBER = re.compile(r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


class TraceContext(NamedTuple):
    trace_id: str
    parent_id: str  # the span that new ones are children of; "": the trace has none yet
    is_sampled: bool
    state: str = ""  # tracestate, passed on as it is

    def headers(self, span_id: str) -> dict[str, str]:
        """For a call to another service, which is the span span_id of this trace."""
        headers = {"traceparent": f"{VERSION}-{self.trace_id}-{span_id}-{int(self.is_sampled):02x}"}
        return headers | {"tracestate": self.state} if self.state else headers


_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def of_request(traceparent: str, tracestate: str, request_id: str) -> TraceContext:
    """The caller's trace, or a new one. A new trace takes the request's id if that has the form of a trace id."""
    if traceparent and (trace := _parsed(traceparent.strip(" \t"), tracestate)):
        return trace
    return TraceContext(request_id if TRACE_ID.fullmatch(request_id) else _random_id(128), "", is_sampled=False)


def _parsed(traceparent: str, tracestate: str) -> TraceContext | None:
    match = TRACEPARENT.fullmatch(traceparent)
    if match is None or (traceparent.startswith(VERSION) and len(traceparent) != LENGTH):
        return None
    trace_id, parent_id, flags = match.groups()
    return TraceContext(trace_id, parent_id, bool(int(flags, 16) & SAMPLED), _valid_state(tracestate))


def _valid_state(tracestate: str) -> str:
    """An empty string if it is malformed or too long, since the traceparent is valid without it."""
    members = [member.strip(" \t") for member in tracestate.split(",")]
    filled = [member for member in members if member]
    is_valid = len(filled) <= MAX_STATE_MEMBERS and all(STATE_MEMBER.fullmatch(member) for member in filled)
    joined = ",".join(filled)
    return joined if is_valid and len(joined) <= MAX_STATE_LENGTH else ""


def current() -> TraceContext | None:
    """Of the request that this thread or task serves."""
    return _current.get()


@contextlib.contextmanager
def within(trace: TraceContext) -> Iterator[None]:
    before = enter(trace)
    try:
        yield
    finally:
        leave(before)


def enter(trace: TraceContext) -> Token[TraceContext | None]:
    return _current.set(trace)


def leave(before: Token[TraceContext | None]) -> None:
    _current.reset(before)


def child_headers() -> dict[str, str]:
    """Headers for a call to another service, with a new span id. Empty outside of a trace."""
    trace = current()
    return trace.headers(_random_id(64)) if trace else {}


def _random_id(bits: int) -> str:
    """Not zero, which is invalid. Not a secret."""
    return f"{getrandbits(bits) or 1:0{bits // 4}x}"
