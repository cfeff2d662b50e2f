"""Django's synchronous application in bounded pools of threads.

The threads live as long as the worker, and so do their database connections. Django's own ASGI handler would make a
thread, and with it a connection, for every request.

A request takes a thread only after its body has arrived, and its response is sent when it is complete. So a client that
sends or reads slowly, or leaves, holds no thread. The partner, webhooks and the admin have pools of their own, so none
of them delays the catalogue. Probes have their own pools too, and refusals use that of /livez: both always answer.
"""

from __future__ import annotations

import asyncio
import time

from a2wsgi import WSGIMiddleware
from django.core.handlers.wsgi import WSGIHandler

from farmlokal.edge.asgi_types import Message, Receive, Scope, Send
from farmlokal.edge.request import EdgeRequest
from farmlokal.edge.uploads import RequestRefusedError, received
from farmlokal.http.problems import MAX_REQUEST_LINE_BYTES, URI_TOO_LONG
from farmlokal.routes import Pool
from integrations.partner.client import partner_deadline

THREADS_PER_WORKER = {
    Pool.API: 16,
    Pool.PARTNER: 16,
    Pool.WEBHOOKS: 8,
    Pool.ADMIN: 4,
    Pool.CHECKS: 2,
    Pool.LIVENESS: 4,
}
THREAD_WAIT_SECONDS = 5


class ThreadPool:
    def __init__(self, wsgi: WSGIHandler, threads: int) -> None:
        self._run = WSGIMiddleware(wsgi, workers=threads)  # type: ignore[arg-type]
        self._free = asyncio.Semaphore(threads)

    async def take_thread(self, seconds: float) -> None:
        """Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            await self._free.acquire()

    async def respond(self, scope: Scope, body: bytes) -> list[Message]:
        """Uses a thread that the caller has taken. It is free again when Django has answered, even if the client is
        gone."""
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        task = asyncio.create_task(self.run(scope, body, collect))
        task.add_done_callback(lambda _: self._free.release())
        await asyncio.shield(task)
        return messages

    async def run(self, scope: Scope, body: bytes, send: Send) -> None:
        await self._run(scope, _receiving(body), send)  # type: ignore[arg-type]


class DjangoPool:
    def __init__(self, wsgi: WSGIHandler) -> None:
        self._pools = {pool: ThreadPool(wsgi, threads) for pool, threads in THREADS_PER_WORKER.items()}

    async def __call__(self, request: EdgeRequest, send: Send) -> None:
        pool = self._pools[request.route.pool]
        if request.route.is_probe:
            await pool.run(request.scope, b"", send)
            return
        try:
            _check_request_line(request.scope)
            async with received(request) as body:
                await _take_thread(pool, request)
                messages = await pool.respond(_with_length(request.scope, body), body)
        except RequestRefusedError as refused:
            request.state.refusal = refused.args
            await self._pools[Pool.LIVENESS].run(request.scope, b"", send)
            return
        for message in messages:
            await send(message)


async def _take_thread(pool: ThreadPool, request: EdgeRequest) -> None:
    is_partner = request.route.pool is Pool.PARTNER
    seconds = partner_deadline(request.state.arrived_at) - time.monotonic() if is_partner else THREAD_WAIT_SECONDS
    try:
        await pool.take_thread(seconds)
    except TimeoutError:
        if is_partner:
            raise RequestRefusedError("partner-timeout", "All threads wait for the partner.") from None
        raise RequestRefusedError("database-unavailable", "All threads are busy. Try again shortly.") from None


def _check_request_line(scope: Scope) -> None:
    length = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + len(" ? HTTP/1.1")
    if length > MAX_REQUEST_LINE_BYTES:
        raise RequestRefusedError("uri-too-long", URI_TOO_LONG)


def _with_length(scope: Scope, body: bytes) -> Scope:
    """WSGI needs the length of a body, which a chunked body does not declare."""
    headers = [header for header in scope["headers"] if header[0] not in {b"content-length", b"transfer-encoding"}]
    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())] if body else headers}


def _receiving(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
