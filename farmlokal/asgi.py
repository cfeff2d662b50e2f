"""What gunicorn runs: the edge, and Django behind it."""

from __future__ import annotations

from farmlokal.wsgi import application as wsgi_application  # first: it sets up Django, whose models the edge imports

# isort: split
from farmlokal.edge import forwarded
from farmlokal.edge.app import Edge
from farmlokal.edge.asgi_types import Receive, Scope, Send
from farmlokal.edge.django_pool import DjangoPool
from farmlokal.edge.request import EdgeRequest
from farmlokal.edge.traced import TracedEdge
from farmlokal.observability import tracing

_edge = (TracedEdge if tracing.is_on() else Edge)(DjangoPool(wsgi_application))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _run_lifespan(receive, send)
        return
    forwarded.apply(scope)
    await _edge(EdgeRequest(scope, receive, send))


async def _run_lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await _edge.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _edge.stop()
    await send({"type": "lifespan.shutdown.complete"})
