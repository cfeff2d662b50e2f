"""What the edge, Django's middleware and the views tell each other about one request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from collections.abc import MutableMapping

    from django.http import HttpRequest

    from accounts.authentication import Caller
    from farmlokal.http.problems import Problem
    from farmlokal.observability.trace_context import TraceContext
    from farmlokal.page_cache.pages import Lookup, Page, Served
    from farmlokal.ratelimit.limiter import Policy

KEY = "farmlokal.state"  # in the ASGI scope; under plain WSGI in request.META


@dataclass(slots=True)
class RequestState:
    arrived_at: float = field(default_factory=time.monotonic)  # deadlines count from here: before the wait for a thread
    trace: TraceContext | None = None  # of the edge's span; None: tracing is off
    refusal: tuple[str, str] | None = None  # code and detail of the problem that answers the request
    is_counted: bool = False  # by the edge, against its client's rate limit
    limited_as: tuple[Policy | None, str] | None = None  # policy and client; None: as an anonymous call of its address
    caller: Caller | Problem | None = None  # the Problem says why the credentials are refused
    lookup: Lookup | None = None  # of the page in Redis, by the edge
    local_page: Page | None = None  # the edge's own copy of the page
    served: Served | None = None  # the page of Django's answer


def begin(scope: MutableMapping[str, Any]) -> RequestState:
    state = scope[KEY] = RequestState()
    return state


def state_of(request: HttpRequest) -> RequestState:
    scope = request.META.get("asgi.scope", request.META)
    return scope.get(KEY) or begin(scope)
