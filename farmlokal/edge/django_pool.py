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
from concurrent.futures import ThreadPoolExecutor

from django.core.handlers.wsgi import WSGIHandler

from farmlokal.edge.asgi_types import Response, Scope
from farmlokal.edge.request import EdgeRequest
from farmlokal.edge.uploads import RequestRefusedError, received
from farmlokal.edge.wsgi_calls import call
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
# Threads that render at the same time slow each other down: 4 serve a fifth more pages than 16. The other 12 take over
# when MySQL is slow.
BUSY_THREADS = {Pool.API: 4}
TURN_WAIT_SECONDS = 0.1


class ThreadPool:
    """busy: how many calls may run at once. Another call starts when one ends, or after TURN_WAIT_SECONDS."""

    def __init__(self, wsgi: WSGIHandler, threads: int, busy: int) -> None:
        self._wsgi = wsgi
        self._threads = ThreadPoolExecutor(threads)
        self._free = asyncio.Semaphore(threads)
        self._turns = asyncio.Semaphore(busy)

    async def respond(
        self, scope: Scope, body: bytes = b"", wait_seconds: float | None = None, *, is_idle: bool = False
    ) -> Response:
        """wait_seconds: how long to wait for a thread; None: as long as it takes. is_idle: it will wait, not compute.

        Raises TimeoutError.
        """
        if not await _acquire(self._free, wait_seconds):
            raise TimeoutError
        has_turn = not is_idle and await _acquire(self._turns, TURN_WAIT_SECONDS)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, self._wsgi, scope, body)
        finally:
            self._free.release()
            if has_turn:
                self._turns.release()


async def _acquire(semaphore: asyncio.Semaphore, seconds: float | None) -> bool:
    """False if it takes longer."""
    if not semaphore.locked():  # as a rule; no timer then
        return await semaphore.acquire()
    try:
        async with asyncio.timeout(seconds):
            return await semaphore.acquire()
    except TimeoutError:
        return False


class DjangoPool:
    def __init__(self, wsgi: WSGIHandler) -> None:
        self._pools = {
            pool: ThreadPool(wsgi, threads, BUSY_THREADS.get(pool, threads))
            for pool, threads in THREADS_PER_WORKER.items()
        }

    async def __call__(self, request: EdgeRequest) -> Response:
        pool = self._pools[request.route.pool]
        if request.route.is_probe:
            return await pool.respond(request.scope)
        try:
            _check_request_line(request.scope)
            async with received(request) as body:
                return await _respond(pool, request, body)
        except RequestRefusedError as refused:
            request.state.refusal = refused.args
            return await self._pools[Pool.LIVENESS].respond(request.scope)


async def _respond(pool: ThreadPool, request: EdgeRequest, body: bytes) -> Response:
    is_partner = request.route.pool is Pool.PARTNER
    seconds = partner_deadline(request.state.arrived_at) - time.monotonic() if is_partner else THREAD_WAIT_SECONDS
    lookup = request.state.lookup
    is_idle = lookup is not None and lookup.is_rendered_elsewhere
    try:
        return await pool.respond(request.scope, body, seconds, is_idle=is_idle)
    except TimeoutError:
        if is_partner:
            raise RequestRefusedError("partner-timeout", "All threads wait for the partner.") from None
        raise RequestRefusedError("database-unavailable", "All threads are busy. Try again shortly.") from None


def _check_request_line(scope: Scope) -> None:
    length = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + len(" ? HTTP/1.1")
    if length > MAX_REQUEST_LINE_BYTES:
        raise RequestRefusedError("uri-too-long", URI_TOO_LONG)
