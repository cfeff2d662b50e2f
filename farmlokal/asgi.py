"""What gunicorn runs: the edge, and behind it Django's synchronous application in bounded pools of threads.

The threads live as long as the worker, and so do their database connections; Django's own ASGI
handler would make a thread, and with it a connection, for every request.

A request takes a thread only after its body has arrived, and its answer is sent when it is complete: a client that
sends or reads slowly, or leaves, holds no thread. Probes and refusals have threads of their own, so that they answer
however busy the others are. So have partner calls, webhooks and the admin: none of them keeps the catalogue waiting.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from a2wsgi import WSGIMiddleware
from django.conf import settings

from farmlokal.wsgi import application as wsgi_application  # first: it sets up Django, whose models the edge knows

# isort: split
from farmlokal.edge import cors, forwarded
from farmlokal.edge.app import Edge
from farmlokal.edge.uploads import RefusedError, UnreadBody, has_body, received
from farmlokal.http.middleware import ADMIN, LIVENESS, PROBES
from farmlokal.http.problems import MAX_REQUEST_LINE_BYTES, URI_TOO_LONG
from farmlokal.request_state import KEY, begin
from integrations.partner.client import end_of
from integrations.webhooks.signatures import MAX_BODY_BYTES as MAX_WEBHOOK_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Scope = dict[str, Any]
    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

THREADS_PER_WORKER = 16
PARTNER_THREADS_PER_WORKER = 16
WEBHOOK_THREADS_PER_WORKER = 8
STAFF_THREADS_PER_WORKER = 4
DOOR_THREADS_PER_WORKER = 4
CHECK_THREADS_PER_WORKER = 2
THREAD_WAIT_SECONDS = 5
WEBHOOKS = "/webhooks/"
OF_PARTNER = re.compile(r"/products/[0-9]+/delivery-quote")

# Which requests may have a body, and of how many bytes. Any other is answered without reading its body.
BODIES = (
    ("POST", re.compile(r"/webhooks/partner"), MAX_WEBHOOK_BYTES),
    ("POST", re.compile(r"/products"), settings.DATA_UPLOAD_MAX_MEMORY_SIZE),
    ("PATCH", re.compile(r"/products/[0-9]+"), settings.DATA_UPLOAD_MAX_MEMORY_SIZE),
    ("POST", re.compile(ADMIN + ".*", re.DOTALL), settings.DATA_UPLOAD_MAX_MEMORY_SIZE),
)


class Pool:
    def __init__(self, threads: int) -> None:
        self.free = asyncio.Semaphore(threads)
        self._run = WSGIMiddleware(wsgi_application, workers=threads)  # type: ignore[arg-type]

    async def answer(self, scope: Scope, body: bytes) -> list[Message]:
        """By a thread that the caller has taken from `free`. The thread frees itself at its end, which it reaches
        without its client, too."""
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
_staff = Pool(STAFF_THREADS_PER_WORKER)
# Never waits for MySQL or Redis, as the checks of /readyz and /metrics may.
_door = WSGIMiddleware(wsgi_application, workers=DOOR_THREADS_PER_WORKER)  # type: ignore[arg-type]
_checks = WSGIMiddleware(wsgi_application, workers=CHECK_THREADS_PER_WORKER)  # type: ignore[arg-type]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    begin(scope)
    forwarded.apply(scope)
    if has_body(scope):
        body = UnreadBody(receive, send)
        receive, send = body.receive, body.send
    await _edge(scope, receive, _with_cors(scope, send))


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    _edge.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _with_cors(scope: Scope, send: Send) -> Send:
    origin = next((value.decode("latin1") for name, value in scope["headers"] if name == b"origin"), "")
    headers = cors.headers_for(scope["method"], scope["path"], origin)
    if not headers:
        return send

    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return send_with_cors


async def _django(scope: Scope, receive: Receive, send: Send) -> None:
    """Everything that the edge does not answer itself."""
    if scope["path"] in PROBES:
        run = _door if scope["path"] == LIVENESS else _checks
        await run(scope, _receiving(b""), send)  # type: ignore[arg-type]
        return
    try:
        _check_request_line(scope)
        async with received(scope, receive, _body_limit(scope)) as body:
            pool = await _free_pool(scope)
            _say_length(scope, body)  # in place: the edge looks into it for what Django has left there
            messages = await pool.answer(scope, body)
    except RefusedError as refused:
        scope[KEY].refusal = refused.args
        await _door(scope, _receiving(b""), send)  # type: ignore[arg-type]
        return
    for message in messages:
        await send(message)


_edge = Edge(_django)


def _body_limit(scope: Scope) -> int | None:
    """In bytes; None: the body is not read."""
    if not has_body(scope):
        return None
    of_path = (most for method, path, most in BODIES if method == scope["method"] and path.fullmatch(scope["path"]))
    return next(of_path, None)


async def _free_pool(scope: Scope) -> Pool:
    """With a thread taken."""
    if OF_PARTNER.fullmatch(scope["path"]):
        left = end_of(scope[KEY].arrived_at) - time.monotonic()
        await _take(_partner, left, "partner-timeout", "All threads wait for the partner.")
        return _partner
    pool = _webhooks if scope["path"].startswith(WEBHOOKS) else _requests
    if scope["path"].startswith(ADMIN):  # a login hashes for 0.4 s
        pool = _staff
    await _take(pool, THREAD_WAIT_SECONDS, "database-unavailable", "All threads are waiting.")
    return pool


async def _take(pool: Pool, seconds: float, code: str, detail: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await pool.free.acquire()
    except TimeoutError:
        raise RefusedError(code, detail) from None


def _check_request_line(scope: Scope) -> None:
    length = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + len(" ? HTTP/1.1")
    if length > MAX_REQUEST_LINE_BYTES:
        raise RefusedError("uri-too-long", URI_TOO_LONG)


def _say_length(scope: Scope, body: bytes) -> None:
    """WSGI knows no other end of a body than its length, which one that came in chunks does not say."""
    headers = [header for header in scope["headers"] if header[0] not in {b"content-length", b"transfer-encoding"}]
    scope["headers"] = [*headers, (b"content-length", str(len(body)).encode())] if body else headers


def _receiving(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
