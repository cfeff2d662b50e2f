"""How bytes become requests: uvicorn's HTTP/1.1 protocol (httptools, the parser of Node) with limits, run by gunicorn.

The limits bound how much one client can take: connections, the time and size of a request's head, and the requests
that it sends ahead. A request that is refused here never reaches the application; its answer is plain text.
"""

from __future__ import annotations

import logging
import signal
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import httptools
import structlog
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn_worker import UvicornWorker

from farmlokal.http.problems import MAX_REQUEST_LINE_BYTES, RETRY_AFTER_SECONDS
from farmlokal.observability.logs import request_id_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sized

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MAX_CONNECTIONS = 800  # of one worker; below the usual limit of 1,024 open files
HEAD_SECONDS = 10  # from the connection, or the first byte of a later request, until its head is complete
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
LINGER_SECONDS = 1  # a refused client can still read its answer; closing at once would reset the connection
FAREWELL_SECONDS = 2  # for a request that is on its way over an idle connection when the worker ends

logger = structlog.get_logger(__name__)


class RefusedError(Exception):
    """Arguments: the status and the text of the answer."""


class Flow(FlowControl):
    """Reads no further while complete requests wait, so that pipelined requests do not pile up in memory."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Corked:
    """A transport that joins the writes of one turn of the event loop: uvloop sends each write by itself, and uvicorn
    writes the head and the body of an answer apart."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []
        self.is_closing = transport.is_closing
        self.abort = transport.abort
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._unsent:
            data, self._unsent = b"".join(self._unsent), []
            self._transport.write(data)


class Protocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in_head = False
        self._is_refused = False
        self._is_shutting_down = False
        self._silent_bytes = 0  # since the last sign of progress: a new request, a piece of a body, its end
        self._is_silent = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = Corked(transport, self.loop)  # type: ignore[assignment]
        self.flow = Flow(transport, self.pipeline)
        self._set_deadline(HEAD_SECONDS)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse(503, "Too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn always closes
        """A client that has sent its requests and says so still reads the answers. True: stay open for them."""
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
            self._check_silence(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except RefusedError as refused:
            self._refuse(*refused.args)
        except httptools.HttpParserError as error:
            cause = error.__context__ or error  # what a callback of ours has raised, or the parser
            self._refuse(*(cause.args if isinstance(cause, RefusedError) else (400, f"Malformed request: {cause}.")))
        else:
            self._expect_request()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head = True
        self._is_silent = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # else a trailer: it must not pass for a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._clear_deadline()
        self._check_head()
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        if self._is_shutting_down:
            self.cycle.keep_alive = False

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

    def shutdown(self) -> None:
        """The worker ends. A request may be on its way over an idle connection: so that one stays for a moment."""
        self._is_shutting_down = True
        if self._latest is None or self._latest.response_complete:
            self._set_deadline(FAREWELL_SECONDS)
        else:
            self.cycle.keep_alive = False

    @property
    def _latest(self) -> RequestResponseCycle | None:
        """The last request whose head is complete; uvicorn's own type leaves out that there may be none."""
        return self.cycle

    def _expect_request(self) -> None:
        """A client that has begun a request, or has not sent all of its last body, gets no keep-alive time for it."""
        is_idle = self._latest is None or self._latest.response_complete
        if is_idle and not self._deadline and not self.transport.is_closing():
            self._set_deadline(HEAD_SECONDS)

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _check_head(self) -> None:
        """The rules of RFC 9112 that the parser leaves to us."""
        self._check_head_size(len(self.url) + sum(len(name) + len(value) for name, value in self.headers))
        if len(self.headers) > MAX_HEADERS:
            raise RefusedError(431, f"A request may have at most {MAX_HEADERS} headers.")
        if self.parser.get_method() == b"CONNECT":
            raise RefusedError(405, "CONNECT is not supported.")
        version = self.parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise RefusedError(505, "The version must be HTTP/1.0 or HTTP/1.1.")
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (version == "1.1" and not hosts):
            raise RefusedError(400, "A request must have one Host header.")
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (version == "1.0" or codings != [b"chunked"]):
            raise RefusedError(501, "The only transfer coding is chunked, in HTTP/1.1.")
        if not self.url.startswith(b"/") and self.url != b"*":
            self._take_host_from_target()

    def _check_silence(self, size: int) -> None:
        """The parser keeps a header until it is complete, and reads a line of a chunk without end."""
        self._silent_bytes = self._silent_bytes + size if self._is_silent else 0
        self._check_head_size(self._silent_bytes)

    def _check_head_size(self, size: int) -> None:
        if size > MAX_HEAD_BYTES:
            status = 414 if len(self.url) > MAX_REQUEST_LINE_BYTES else 431
            raise RefusedError(status, f"The head of a request may have at most {MAX_HEAD_BYTES} bytes.")

    def _take_host_from_target(self) -> None:
        """GET http://host/path is GET /path for that host (RFC 9112, 3.2.2)."""
        target = httptools.parse_url(self.url)
        if (target.schema or b"").lower() not in {b"http", b"https"}:
            raise RefusedError(400, "The target must be a path or an http URL.")
        host = b"[%s]" % target.host if b":" in target.host else target.host
        host += b":%d" % target.port if target.port else b""
        self.headers[:] = [header for header in self.headers if header[0] != b"host"]
        self.headers.append((b"host", host))
        self.url = (target.path or b"/") + (b"?" + target.query if target.query else b"")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Serve the request as if it offered no other protocol (RFC 9110, 7.8). The parser cannot; so it reads the
        head again without the offer."""
        line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        head = b"\r\n".join([line, *headers, b"", b""])
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(head + rest)

    def _refuse(self, status: int, text: str) -> None:
        """Ends the connection with this answer, or after the answers to the complete requests before it."""
        self._is_refused = True
        cycle = self._latest
        if cycle is not None and not cycle.response_complete:
            is_body_broken = cycle.more_body and not self.pipeline and not cycle.response_started
            if not is_body_broken:
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
        request_id = request_id_of("")
        logger.info("request_refused", status=status, reason=text, peer=self._peer(), request_id=request_id)
        headers = f"x-request-id: {request_id}\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\n"
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers += f"retry-after: {RETRY_AFTER_SECONDS}\r\n"
        self.transport.write(STATUS_LINE[status] + f"{headers}connection: close\r\n\r\n{text}".encode())
        self.transport.write_eof()
        self._set_deadline(LINGER_SECONDS)

    def _peer(self) -> str:
        return self.client[0] if self.client else ""


class Worker(UvicornWorker):  # type: ignore[misc]  # the library has no types
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",  # asyncio's own takes half as long again for a cached page
        "http": Protocol,
        "ws": "none",
        "lifespan": "on",
        "proxy_headers": False,  # farmlokal.edge.forwarded judges them
        "server_header": False,
        "access_log": False,  # farmlokal.observability.logs writes the request line
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logging.getLogger("uvicorn.error").propagate = True  # to our handler; gunicorn's logger has none

    def init_signals(self) -> None:
        super().init_signals()
        # uvicorn raises the signal again when it has stopped. The default action would skip what atexit has to do.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _exit)


def _exit(*_: object) -> None:
    sys.exit(0)
