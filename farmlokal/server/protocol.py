"""HTTP/1.1 by uvicorn's protocol (httptools, Node's parser), with limits.

The limits bound what one client can take: connections, the time and size of a request's head, and pipelined requests.
A request that is refused here never reaches the application; its response is plain text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from farmlokal.http.problems import RETRY_AFTER_SECONDS
from farmlokal.http.security_headers import security_headers
from farmlokal.observability.logs import request_id_of
from farmlokal.server.heads import HeadRefusedError, check_head, check_head_size, without_upgrade
from farmlokal.server.transport import CorkedTransport, PipelineFlow, is_readable

MAX_CONNECTIONS = 800  # per worker; below the usual limit of 1,024 open files
HEAD_SECONDS = 10  # from the connection, or the first byte of a later request, until the head is complete
LINGER_SECONDS = 1  # closing at once would reset the connection before a refused client has read the response
FAREWELL_SECONDS = 2  # when the worker ends: for a request on its way over an idle connection

SECURITY_HEADERS = "".join(
    f"{name.lower()}: {value}\r\n" for name, value in security_headers("", "text/plain", is_secure=False).items()
)

logger = structlog.get_logger(__name__)


class Protocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.url = b""  # until the first request: a client may begin with empty lines
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in_head = False
        self._is_refused = False
        self._is_shutting_down = False
        self._silent_bytes = 0  # since the last progress: a new request, a piece of a body, its end
        self._is_silent = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = CorkedTransport(transport, self.loop)  # type: ignore[assignment]
        self.flow = PipelineFlow(transport, self.pipeline)
        self._set_deadline(HEAD_SECONDS)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, "Too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn always closes
        """True: stay open. A client that has closed its sending side still reads the responses."""
        cycle = self._latest
        if cycle is None or cycle.response_complete or cycle.more_body:
            self.transport.close()
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unset_keepalive_if_required()
        self._is_silent = True
        try:
            self.parser.feed_data(data)
            self._check_progress(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HeadRefusedError as refused:
            self._refuse(*refused.args)
        except httptools.HttpParserError as error:
            cause = error.__context__ or error  # an exception of our callbacks, or the parser's own
            is_ours = isinstance(cause, HeadRefusedError)
            self._refuse(*(cause.args if is_ours else (400, f"Malformed request: {cause}.")))
        else:
            self._expect_request()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._is_silent = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # else it is a trailer, which must not pass for a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._clear_deadline()
        self.url = check_head(self.parser, self.url, self.headers)
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._is_silent = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_silent = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.more_body or self._is_in_head:
            self._expect_request()
        elif self._is_shutting_down:
            self.shutdown()

    def shutdown(self) -> None:
        """The worker ends. Idle connections stay open for a moment, because a request may be on its way."""
        self._is_shutting_down = True
        if self._is_idle:
            self._set_deadline(FAREWELL_SECONDS, self._part)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False  # else its head has promised that the connection stays

    def _part(self) -> None:
        """Close the connection, unless a request arrives at this moment."""
        self._deadline = None
        if self._is_in_head or is_readable(self.transport.get_extra_info("socket")):
            self._expect_request()
        else:
            self.transport.close()

    @property
    def _latest(self) -> RequestResponseCycle | None:
        """The last request with a complete head; uvicorn's type omits None."""
        return self.cycle

    @property
    def _is_idle(self) -> bool:
        return self._latest is None or self._latest.response_complete

    def _expect_request(self) -> None:
        """Limits the time for a head. A client that has begun a request, or not ended its last body, is not idle."""
        if self._is_idle and not self._deadline and not self.transport.is_closing():
            self._set_deadline(HEAD_SECONDS)

    def _set_deadline(self, seconds: float, end: Callable[[], None] | None = None) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, end or self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _check_progress(self, size: int) -> None:
        """The parser buffers an incomplete header, and reads chunk lines without end."""
        self._silent_bytes = self._silent_bytes + size if self._is_silent else 0
        check_head_size(self._silent_bytes, self.url)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Serve the request over HTTP/1.1 (RFC 9110, 7.8). The parser cannot, so it reads the head again without the
        offer to upgrade."""
        head = without_upgrade(self.parser, self.url, self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(head + rest)

    def _refuse(self, status: int, text: str) -> None:
        """Ends the connection with this response, or after the responses to complete requests before it."""
        self._is_refused = True
        cycle = self._latest
        if cycle is not None and not cycle.response_complete:
            is_body_broken = cycle.more_body and not self.pipeline and not cycle.response_started
            if not is_body_broken:
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self._send_refusal(status, text)

    def _send_refusal(self, status: int, text: str) -> None:
        request_id = request_id_of("")
        peer = self.client[0] if self.client else ""
        logger.info("request_refused", status=status, reason=text, peer=peer, request_id=request_id)
        headers = f"x-request-id: {request_id}\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\n"
        headers += SECURITY_HEADERS
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers += f"retry-after: {RETRY_AFTER_SECONDS}\r\n"
        self.transport.write(STATUS_LINE[status] + f"{headers}connection: close\r\n\r\n{text}".encode())
        self.transport.write_eof()
        self._set_deadline(LINGER_SECONDS)
