"""The edge with a span for each request, and for its round trip to Redis. Only if tracing is on."""

from __future__ import annotations

from http import HTTPStatus

from farmlokal.edge.app import Edge
from farmlokal.edge.batching import Admission
from farmlokal.edge.request import EdgeRequest
from farmlokal.edge.shares import LimitedClient
from farmlokal.observability import logs, trace_context, tracing
from farmlokal.observability.metrics import METHODS


class TracedEdge(Edge):
    async def __call__(self, request: EdgeRequest) -> None:
        if request.route.is_probe:  # asked every few seconds, so its parts are not recorded either
            request.state.trace = request.trace._replace(is_sampled=False)
            await super().__call__(request)
            return
        method, template = request.method if request.method in METHODS else "HTTP", request.route.template
        name = f"{method} {template}" if template else method
        with tracing.begin_span(request.trace, name, _attributes(request), "server") as span:
            request.state.trace = trace_context.current()
            await super().__call__(request)
            span.set("http.response.status_code", request.status)
            if query := request.scope["query_string"]:  # Django has registered by now which parameters may be shown
                span.set("url.query", logs.loggable(query.decode("latin1"), template or None))
            if request.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.fail(str(request.status))

    async def _admission(self, client: LimitedClient | None, page_key: str) -> Admission:
        """The requests of a tick share the round trip. Each gets a span for its own wait."""
        with tracing.redis_span("admit_batch"):
            return await super()._admission(client, page_key)


def _attributes(request: EdgeRequest) -> dict[str, str]:
    """By the semantic conventions for HTTP servers, without addresses of clients."""
    route = {"http.route": request.route.template} if request.route.template else {}
    return {
        "http.request.method": request.method if request.method in METHODS else "_OTHER",
        "url.path": request.path,
        "url.scheme": request.scope["scheme"],
        "network.protocol.version": request.scope["http_version"],
        "farmlokal.request_id": request.request_id,
        **route,
    }
