"""What gunicorn runs: the edge, and behind it Django's synchronous application in a bounded pool of threads.

The threads live as long as the worker, and so do their database connections; Django's own ASGI
handler would make a thread, and with it a connection, for every request.

A thread is taken only for a request that is here whole, after a limited time of waiting, and its answer is sent when
it is whole, too: neither who sends slowly nor who reads slowly, or leaves, holds one. Probes and refusals have
threads of their own: they answer however busy or stuck the others are. So have calls that wait for a partner and
webhooks that come from one: neither keeps the catalogue waiting.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

from a2wsgi import WSGIMiddleware
from django.conf import settings

from farmlokal.wsgi import application as wsgi_application  # first: it sets up Django, whose models the edge knows

# isort: split
from farmlokal.arrival import ARRIVED, note_arrival
from farmlokal.edge import Edge
from farmlokal.errors import MAX_REQUEST_LINE_BYTES, REFUSAL, URI_TOO_LONG, body_too_large
from integrations.partner.client import end_of
from integrations.webhooks.signatures import MAX_BODY_BYTES as MAX_WEBHOOK_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

T = TypeVar("T")

THREADS_PER_WORKER = 16
PARTNER_THREADS_PER_WORKER = 16
WEBHOOK_THREADS_PER_WORKER = 8
DOOR_THREADS_PER_WORKER = 4
THREAD_WAIT_SECONDS = 5
BODY_WAIT_SECONDS = 10
PROBES = ("/livez", "/readyz", "/metrics")
WEBHOOKS = "/webhooks/"
OF_PARTNER = re.compile(r"/products/[0-9]+/delivery-quote")


class Pool:
    def __init__(self, threads: int) -> None:
        self.free = asyncio.Semaphore(threads)
        self._run = WSGIMiddleware(wsgi_application, workers=threads)  # type: ignore[arg-type]

    async def answer(self, scope: Scope, body: bytes) -> list[Message]:
        """By a thread that the caller has taken from `free`; it is given back when the thread has come to its end,
        which it does without its client, too."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        task = asyncio.create_task(self._run(scope, _receiving(body), keep))  # type: ignore[arg-type]
        task.add_done_callback(lambda _: self.free.release())
        await asyncio.shield(task)
        return messages


_requests = Pool(THREADS_PER_WORKER)
_partner = Pool(PARTNER_THREADS_PER_WORKER)
_webhooks = Pool(WEBHOOK_THREADS_PER_WORKER)
_door = WSGIMiddleware(wsgi_application, workers=DOOR_THREADS_PER_WORKER)  # type: ignore[arg-type]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    scope = _in_origin_form(scope)
    note_arrival(scope)
    await _edge(scope, receive, send)


async def _django(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http" or scope["path"] in PROBES:
        await _door(scope, receive, send)  # type: ignore[arg-type]
        return
    try:
        _check_request_line(scope)
        body = await _read_body(scope["path"], receive)
        pool = await _free_pool(scope)
    except _Refused as refused:
        await _door({**scope, REFUSAL: refused.args}, _receiving(b""), send)  # type: ignore[arg-type]
        return
    _say_length(scope, body)  # in place: the edge looks into it for what Django has left there
    for message in await pool.answer(scope, body):
        await send(message)


_edge = Edge(_django)


def _in_origin_form(scope: Scope) -> Scope:
    """GET http://host/path is GET /path for that host (RFC 9112, 3.2.2)."""
    if scope["type"] != "http" or "://" not in scope["path"] or scope["path"].startswith("/"):
        return scope
    host, _, path = scope["path"].partition("://")[2].partition("/")
    headers = [header for header in scope["headers"] if header[0] != b"host"]
    return {**scope, "path": f"/{path}", "headers": [*headers, (b"host", host.encode())]}


async def _free_pool(scope: Scope) -> Pool:
    """With a thread taken."""
    if OF_PARTNER.fullmatch(scope["path"]):
        left = end_of(scope[ARRIVED]) - time.monotonic()
        await _wait_for(_partner.free.acquire(), left, "partner-timeout", "All threads wait for the partner.")
        return _partner
    pool = _webhooks if scope["path"].startswith(WEBHOOKS) else _requests
    await _wait_for(pool.free.acquire(), THREAD_WAIT_SECONDS, "database-unavailable", "All threads are waiting.")
    return pool


class _Refused(Exception):
    """Arguments: the code and the detail of the problem that farmlokal.errors answers with."""


def _check_request_line(scope: Scope) -> None:
    length = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + len(" ? HTTP/1.1")
    if length > MAX_REQUEST_LINE_BYTES:
        raise _Refused("uri-too-long", URI_TOO_LONG)


async def _read_body(path: str, receive: Receive) -> bytes:
    most = MAX_WEBHOOK_BYTES if path.startswith(WEBHOOKS) else settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    async def read() -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":  # what has come may look whole
                raise _Refused("bad-request", "The body did not arrive.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > most:
                raise _Refused("payload-too-large", body_too_large(most))
            await asyncio.sleep(0)  # of a body in small pieces many are here at once, and receive() waits for none
        return bytes(body)

    return await _wait_for(read(), BODY_WAIT_SECONDS, "bad-request", "The body did not arrive in time.")


async def _wait_for(awaitable: Awaitable[T], seconds: float, code: str, detail: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise _Refused(code, detail) from None


def _say_length(scope: Scope, body: bytes) -> None:
    """WSGI knows no other end of a body than its length, which one that came in chunks does not say."""
    if body:
        headers = [header for header in scope["headers"] if header[0] not in {b"content-length", b"transfer-encoding"}]
        scope["headers"] = [*headers, (b"content-length", str(len(body)).encode())]


def _receiving(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
