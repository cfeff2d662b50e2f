"""One request as the edge sees it, and the responses that need no Django."""

from __future__ import annotations

import asyncio
import time
from typing import BinaryIO, get_args

import orjson
from django.utils.encoding import escape_uri_path

from farmlokal import request_state, routes
from farmlokal.edge import cors
from farmlokal.edge.addresses import MAX_ADDRESS_BYTES, page_key_of
from farmlokal.edge.asgi_types import Headers, Receive, Response, Scope, Send
from farmlokal.edge.batching import NOT_LIMITED
from farmlokal.edge.local_pages import LocalPage
from farmlokal.edge.uploads import UnreadBody
from farmlokal.http.conditional import is_not_modified
from farmlokal.http.problems import CONTENT_TYPE, MAX_PATH_LENGTH, problem_document
from farmlokal.http.security_headers import security_headers
from farmlokal.observability import logs, metrics, trace_context
from farmlokal.observability.trace_context import TraceContext
from farmlokal.page_cache.pages import Result
from farmlokal.ratelimit.limiter import Decision

X_CACHE = {result: (b"x-cache", result.encode()) for result in get_args(Result)}
BLOCK_BYTES = 64 * 1024  # of a file

tick = metrics.Tick(then=logs.flush)


class EdgeRequest:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.state = request_state.begin(scope)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.route = routes.find(self.path)
        self.headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            self.headers[name] = self.headers[name] + b"," + value if name in self.headers else value
        self.has_body = b"transfer-encoding" in self.headers or self.headers.get(b"content-length", b"0") != b"0"
        body = UnreadBody(receive, send) if self.has_body else None
        self.receive, self._send = (body.receive, body.send) if body else (receive, send)
        # Whether other requests may get the same response. None waits for a body; Django checks If-Match, and reads the
        # query in the charset of a Content-Type.
        self.is_shareable = (
            self.method in cors.READS
            and not self.has_body
            and b"if-match" not in self.headers
            and b"charset" not in self.headers.get(b"content-type", b"").lower()
        )
        self.request_id = logs.request_id_of(self.header(b"x-request-id"))
        self.admission = NOT_LIMITED
        self.status = 0  # of the response; 0: it has not begun

    @property
    def is_preflight(self) -> bool:
        return (
            self.method == "OPTIONS" and b"access-control-request-method" in self.headers and b"origin" in self.headers
        )

    @property
    def peer(self) -> str:
        return (self.scope.get("client") or ("",))[0]

    @property
    def trace(self) -> TraceContext:
        """Computed when it is needed: Django finds its own."""
        return self.state.trace or trace_context.of_request(
            self.header(b"traceparent"), self.header(b"tracestate"), self.request_id
        )

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin1")

    @property
    def page_key(self) -> str:
        """Of the cached page that may answer this request; "": only Django can."""
        host, query = self.headers.get(b"host", b""), self.scope["query_string"]
        if not self.is_shareable or len(host) + len(self.path) + len(query) > MAX_ADDRESS_BYTES:
            return ""
        return page_key_of(self.route.template, self.scope["scheme"], host, self.path, query)

    @property
    def headers_key(self) -> tuple[str, str]:
        """Equal for requests whose pages have the same headers, apart from those of the page."""
        return self.route.template, self.scope["scheme"]

    async def serve(self, page: LocalPage, result: Result, headers: Headers) -> None:
        """headers: those that all responses of this route have."""
        known_etags, etag = self.headers.get(b"if-none-match"), page.representation.etag
        is_whole = known_etags is None or not is_not_modified(known_etags.decode("latin1"), etag)
        body = page.representation.body_for(self.header(b"accept-encoding"))
        headers = [*headers, *page.headers(body, is_whole=is_whole), X_CACHE[result]]
        await self._respond(200 if is_whole else 304, headers, body if is_whole else b"", result)

    async def answer_preflight(self) -> None:
        method, origin = self.header(b"access-control-request-method"), self.header(b"origin")
        await self._respond(204, cors.preflight_headers(method, origin) + self._security_headers(""))

    async def refuse(self, decision: Decision, client: str) -> None:
        metrics.count_refusal(decision.policy.name, client)
        instance = escape_uri_path(self.path[:MAX_PATH_LENGTH])
        body = orjson.dumps(problem_document("rate-limited", decision.detail, instance, self.request_id))
        headers = [
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"retry-after", str(decision.retry_after).encode()),
        ]
        await self._respond(429, headers + self._security_headers(CONTENT_TYPE), body)

    async def forward(self, response: Response) -> None:
        """Send Django's response."""
        headers = response.headers + self._common_headers()
        if response.file:
            await self._send_file(response.status, headers, response.file)
        else:
            await self._send_response(response.status, headers, response.body)

    async def _respond(self, status: int, headers: Headers, body: bytes = b"", page_result: str = "") -> None:
        headers.append((b"x-request-id", self.request_id.encode()))
        headers += self._common_headers()
        await self._send_response(status, headers, b"" if self.method == "HEAD" else body)
        seconds = time.monotonic() - self.state.arrived_at
        template = self.route.template or None
        tick.count(template, self.method, status, page_result, seconds)
        metrics.count_cost(template, 0, self.admission.commands)
        if logs.is_on():
            query = self.scope["query_string"].decode("latin1")
            ids = self.request_id, self.trace.trace_id
            logs.log_request(*ids, self.method, self.path, query, template, status, seconds, self.peer)

    async def _send_response(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _send_file(self, status: int, headers: Headers, file: BinaryIO) -> None:
        """send() waits while the client does not read, so memory holds one block."""
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        with file:
            while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
                await self._send({"type": "http.response.body", "body": block, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    def _security_headers(self, content_type: str) -> Headers:
        headers = security_headers(self.path, content_type, is_secure=self.scope["scheme"] == "https")
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    def _common_headers(self) -> Headers:
        headers: Headers = []
        if self.route.is_cors_open:
            headers += cors.headers_for(self.method, self.header(b"origin"))
        if decision := self.admission.decision:
            headers += [decision.policy.field, (b"ratelimit", decision.header.encode())]
        return headers
