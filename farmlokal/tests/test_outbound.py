"""An outgoing call ends at its deadline, however slow the server is, and its error names the cause."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.testing.servers import free_port
from dev.testing.sockets import answer_with, blackhole, drip, listening, make_certificate, read_request, stay_silent
from farmlokal.outbound import client as outbound
from farmlokal.outbound.client import Answer, BadAnswerError, DeadlineExceededError, OutboundError, call

DEADLINE_SECONDS = 0.4
HANG_SECONDS = 20  # for a call without a deadline; a call with one ends sooner, also on a busy machine


def get(port: int, seconds: float = DEADLINE_SECONDS, scheme: str = "http", host: str = "127.0.0.1") -> Answer:
    return call("GET", f"{scheme}://{host}:{port}/path", ends=time.monotonic() + seconds)


SLOW = {
    "stays silent": stay_silent,
    "drips its status": drip(b"", b"H"),
    "drips its headers": drip(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "drips its body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"),
    "drips its chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "sends without end or length": drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
}


def check_deadline(port: int, scheme: str = "http", host: str = "127.0.0.1") -> None:
    start = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        get(port, scheme=scheme, host=host)
    assert DEADLINE_SECONDS <= time.monotonic() - start < HANG_SECONDS


@pytest.mark.parametrize("server", SLOW)
def test_deadline_ends_the_call_of_a_slow_server(server: str) -> None:
    with listening(SLOW[server]) as port:
        check_deadline(port)


def test_deadline_ends_an_unanswered_tls_handshake() -> None:
    with listening(stay_silent) as port:
        check_deadline(port, scheme="https")


def test_deadline_ends_an_unaccepted_connection() -> None:
    with blackhole() as port:
        check_deadline(port)


def test_deadline_ends_a_lookup_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    resume = threading.Event()

    def stall(*_: object, flags: int = 0, **__: object) -> None:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror
        resume.wait()

    monkeypatch.setattr(socket, "getaddrinfo", stall)
    try:
        check_deadline(80, host="stalls.example")
    finally:
        resume.set()


def test_call_fails_in_a_process_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    monkeypatch.setattr(outbound, "_lookups", lambda: ended)
    with pytest.raises(OutboundError, match="this process is ending"):
        get(80, host="somewhere.example")


BROKEN = {
    "hangs up": (answer_with(b""), OutboundError, "RemoteDisconnected"),
    "does not speak HTTP": (answer_with(b"220 mail ready\r\n\r\n"), OutboundError, "BadStatusLine"),
    "stops half-way": (
        answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        OutboundError,
        "IncompleteRead",
    ),
    "sends too much": (
        answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + 3_000_000 * b"x"),
        BadAnswerError,
        "more than",
    ),
    "redirects with too much": (
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


@pytest.mark.parametrize("server", BROKEN)
def test_error_names_the_fault_of_a_broken_server(server: str) -> None:
    talk, error, text = BROKEN[server]
    with listening(talk) as port, pytest.raises(error, match=text):
        get(port, 5)


def test_error_names_a_refused_connection() -> None:
    with pytest.raises(OutboundError, match="ConnectionRefusedError"):
        get(free_port(), 5)


def test_redirect_is_an_answer_and_keeps_the_connection() -> None:
    """The second request uses the same connection, without a cookie."""
    requests: list[bytes] = []
    connections: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        connections.append(connection)
        while request := read_request(connection).strip():
            requests.append(request)
            connection.sendall(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
            )

    with listening(talk) as port:
        assert [(answer.status, answer.body) for answer in (get(port, 5), get(port, 5))] == [(302, b"ok")] * 2
    assert len(connections) == 1
    assert len(requests) == 2
    assert b"cookie" not in requests[1].lower()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    return make_certificate(tmp_path)


def test_tls_is_verified_and_ends_at_the_deadline(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, path = certificate
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with listening(answer_with(ok), context) as port:
        with pytest.raises(OutboundError, match="CERTIFICATE_VERIFY_FAILED"):
            get(port, 5, "https", "localhost")
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        outbound.reset()
        assert get(port, 5, "https", "localhost").body == b"ok"
        with pytest.raises(OutboundError, match="CERTIFICATE_VERIFY_FAILED"):
            get(port, 5, "https", "127.0.0.1")  # the certificate is for another name
    with listening(SLOW["drips its headers"], context) as port:
        check_deadline(port, "https", "localhost")
    outbound.reset()
