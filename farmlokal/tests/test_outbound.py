"""A call ends at its deadline, however slow the other side is; and says what was wrong."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dev.testing.servers import free_port
from dev.testing.sockets import answer_with, blackhole, drip, listening, make_certificate, read_request, stay_silent
from farmlokal.outbound import client as outbound
from farmlokal.outbound.client import Answer, BadAnswerError, DeadlineExceededError, OutboundError, call

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

DEADLINE = 0.4
MAX_OVER = 0.5  # for a machine that has something else to do, too; `make bench-partner` measures it


def get(port: int, seconds: float = DEADLINE, scheme: str = "http", host: str = "127.0.0.1") -> Answer:
    return call("GET", f"{scheme}://{host}:{port}/path", ends=time.monotonic() + seconds)


SLOW = {
    "says nothing": stay_silent,
    "drips its status": drip(b"", b"H"),
    "drips its headers": drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "drips its body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"),
    "drips its chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "goes on and on without a length": drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("how", SLOW)
def test_who_is_slow_is_hung_up_on_at_the_deadline(how: str) -> None:
    with listening(SLOW[how]) as port:
        get_by = time.monotonic() + DEADLINE
        with pytest.raises(DeadlineExceededError):
            get(port)
        assert -0.05 < time.monotonic() - get_by < MAX_OVER


def test_a_tls_handshake_that_is_not_answered() -> None:
    with listening(stay_silent) as port:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            get(port, scheme="https")
        assert time.monotonic() - began < DEADLINE + MAX_OVER


def test_a_connection_that_nobody_takes() -> None:
    with blackhole() as port:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            get(port)
        assert time.monotonic() - began < DEADLINE + MAX_OVER


def test_a_name_that_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def stall(*_: object, flags: int = 0, **__: object) -> None:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror
        time.sleep(3)

    monkeypatch.setattr(socket, "getaddrinfo", stall)
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        get(80, host="stalls.example")
    assert time.monotonic() - began < DEADLINE + MAX_OVER


def test_a_process_that_is_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    monkeypatch.setattr(outbound, "_lookups", lambda: ended)
    with pytest.raises(OutboundError, match="this process is ending"):
        get(80, host="somewhere.example")


BROKEN = {
    "hangs up": (answer_with(b""), OutboundError, "RemoteDisconnected"),
    "speaks no HTTP": (answer_with(b"220 mail ready\r\n\r\n"), OutboundError, "BadStatusLine"),
    "stops half-way": (
        answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        OutboundError,
        "IncompleteRead",
    ),
    "has too much to say": (
        answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + 3_000_000 * b"x"),
        BadAnswerError,
        "more than",
    ),
    "redirects with too much to say": (
        answer_with(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 3000000\r\n\r\n" + 3_000_000 * b"x"),
        BadAnswerError,
        "more than",
    ),
    "compresses": (
        answer_with(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"),
        BadAnswerError,
        "encoded",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_cannot_be_used_says_why(how: str) -> None:
    talk, error, text = BROKEN[how]
    with listening(talk) as port, pytest.raises(error, match=text):
        get(port, 5)


def test_nobody_listens() -> None:
    with pytest.raises(OutboundError, match="ConnectionRefusedError"):
        get(free_port(), 5)


def test_a_redirect_is_an_answer_and_connections_are_kept() -> None:
    """Two requests over one connection; and no cookie of the first is in the second."""
    seen: list[bytes] = []
    connections: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        connections.append(connection)
        while request := read_request(connection).strip():
            seen.append(request)
            connection.sendall(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
            )

    with listening(talk) as port:
        assert [(answer.status, answer.body) for answer in (get(port, 5), get(port, 5))] == [(302, b"ok")] * 2
    assert len(connections) == 1
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    return make_certificate(tmp_path)


def test_tls_is_verified_and_its_drips_end_too(
    certified: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, path = certified
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with listening(answer_with(ok), context) as port:
        with pytest.raises(OutboundError, match="CERTIFICATE_VERIFY_FAILED"):
            get(port, 5, "https", "localhost")
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        outbound._session.cache_clear()
        assert get(port, 5, "https", "localhost").body == b"ok"
        with pytest.raises(OutboundError, match="CERTIFICATE_VERIFY_FAILED"):
            get(port, 5, "https", "127.0.0.1")  # the certificate is for another name
    with listening(SLOW["drips its headers"], context) as port:
        began = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            get(port, DEADLINE, "https", "localhost")
        assert time.monotonic() - began < DEADLINE + MAX_OVER
    outbound._session.cache_clear()
