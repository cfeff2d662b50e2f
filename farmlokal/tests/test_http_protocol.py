"""The HTTP server against hostile, slow and unusual bytes, before the application sees them."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.testing.offers import make_offers
from dev.testing.servers import Server, running
from dev.testing.waiting import wait_until

pytestmark = pytest.mark.usefixtures("live_database")

MEBIBYTE = 1024 * 1024
POST = b"POST /webhooks/partner HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
LAST = GET + b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    """One worker, so that its memory and connections can be counted."""
    make_offers({"name": f"n{n}"} for n in range(5))
    with running(database_environment, WEB_CONCURRENCY="1") as started:
        yield started


def worker_of(server: Server) -> int:
    (worker,) = server.workers
    return worker


def peak_memory(server: Server) -> int:
    """The most bytes that the worker has had resident."""
    status = Path(f"/proc/{worker_of(server)}/status").read_text()
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kibibytes) * 1024


def everything(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def answers_to(server: Server, request: bytes) -> list[int]:
    """The statuses of all responses until the connection ends."""
    with server.connect() as connection:
        connection.sendall(request)
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", everything(connection))]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST + b"Content-Length: 18446744073709551621\r\n\r\nAAAAA", 400),
        (POST + b"Content-Length: 18446744073709551616\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nAAAAA", 400),
        (POST + b"Content-Length: 5, 5\r\n\r\nAAAAA", 400),
        (POST + b"Content-Length: +5\r\n\r\nAAAAA", 400),
        (POST + b"Content-Length: 5\r\n 5\r\n\r\nAAAAA", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"10000000000000005\r\nAAAAA\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0x5\r\nAAAAA\r\n0\r\n\r\n", 400),
        (CHUNKED + b"5;a\nb\r\nAAAAA\r\n0\r\n\r\n", 400),
        (CHUNKED + b"5;a\0b\r\nAAAAA\r\n0\r\n\r\n", 400),
        (CHUNKED + b"5\nAAAAA\r\n0\r\n\r\n", 400),
        (CHUNKED + b"5\r\nAAAAAA\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nAAAAA\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked,\r\n\r\n5\r\nAAAAA\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (GET + b"X-A: b\r\n Content-Length: 66\r\n\r\n", 400),
        (GET + b"X-A: a\rb\r\n\r\n", 400),
        (GET + b"X-A: \0\r\n\r\n", 400),
        (GET + b"X-A : b\r\n\r\n", 400),
        (GET + b": b\r\n\r\n", 400),
        (GET + b"Host: other\r\n\r\n", 400),
        (GET.replace(b"\r\n", b"\n") + b"\n", 400),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 505),
        (b"GET /livez HTTP/1.2\r\nHost: localhost\r\n\r\n", 400),
        (b"get /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET /\xe0\xa4\x86 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (GET + b"X: y\r\n" * 101 + b"\r\n", 431),
        (GET + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    ],
    ids=lambda value: repr(value[-60:]) if isinstance(value, bytes) else None,
)
def test_ambiguous_request_gets_one_refusal_and_ends_the_connection(
    server: Server, request_bytes: bytes, status: int
) -> None:
    """If one side read it differently, the request behind it would be answered too."""
    assert answers_to(server, request_bytes + LAST) == [status]


def test_refusal_has_a_request_id_that_is_in_the_log(server: Server) -> None:
    refused = server.raw(b"GET /livez HTTP/1.1\r\n\r\n")
    assert refused.headers["connection"] == "close"
    (line,) = [
        line for line in server.log_lines("request_refused") if line["request_id"] == refused.headers["x-request-id"]
    ]
    assert (line["status"], line["reason"], line["peer"]) == (400, refused.body.decode(), "127.0.0.1")


def test_complete_request_before_a_broken_one_is_answered(server: Server) -> None:
    assert answers_to(server, GET + b"\r\n" + b"\0\0\0") == [200]


def test_empty_lines_before_a_request_are_ignored(server: Server) -> None:
    assert answers_to(server, b"\r\n\r\n" + LAST) == [200]


def test_empty_line_in_a_packet_of_its_own_is_ignored(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"\r\n")
        time.sleep(0.05)
        connection.sendall(LAST)
        assert everything(connection).startswith(b"HTTP/1.1 200 ")


def test_reset_before_the_response_is_not_logged_as_an_error(server: Server) -> None:
    reset_on_close = struct.pack("ii", 1, 0)
    for _ in range(300):
        with server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
            connection.sendall((GET + b"\r\n") * 5)
    assert server.request("/livez").status == 200
    assert not [line for line in map(json.loads, server.log.read_text().splitlines()) if line["level"] == "error"]


@pytest.mark.parametrize("target", ["/livez", "/products?limit=3", "/products?limit=3&price_min=1"])
def test_client_that_closed_its_side_gets_its_responses(server: Server, target: str) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with server.connect() as connection:
        connection.sendall(request * 3)
        connection.shutdown(socket.SHUT_WR)
        received = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", received) == [b"200"] * 3


def test_trailers_do_not_become_headers(server: Server) -> None:
    trailers = b"Host: evil.example\r\nX-Request-ID: from-a-trailer\r\n"
    request = CHUNKED + b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n"
    with server.connect() as connection:
        connection.sendall(request + LAST)
        received = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", received) == [b"401", b"200"]
    assert b"from-a-trailer" not in received


@pytest.mark.parametrize("offer", ["websocket", "h2c", "TLS/1.0"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_offer_of_another_protocol_is_ignored(server: Server, offer: str, is_cut: bool) -> None:
    upgrade = f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {offer}\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    get = b"GET /products?limit=2 HTTP/1.1\r\nHost: localhost\r\n" + upgrade.encode() + b"\r\n"
    body = b'{"type": "x"}'
    post = POST + upgrade.encode() + f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with server.connect() as connection:
        for piece in (get + post[:-5], post[-5:] + LAST) if is_cut else (get + post + LAST,):
            connection.sendall(piece)
            time.sleep(0.05)
        received = everything(connection)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", received) == [b"200", b"401", b"200"]
    assert received.count(b"x-request-id: ") == 3


ENDLESS = {
    "request line": b"GET /",
    "header value": GET + b"X: ",
    "header name": GET,
    "chunk extension": CHUNKED + b"1;",
    "chunk size": CHUNKED + b"0",
    "trailer": CHUNKED + b"0\r\nX: ",
    "empty lines": b"",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_endless_line_is_cut_off(server: Server, what: str) -> None:
    """Of twelve megabytes that the client sends, the server keeps little, and it answers others meanwhile."""
    filler = {"chunk size": b"0", "empty lines": b"\r\n"}.get(what, b"a") * 262_144
    server.request("/livez")
    before, is_over = peak_memory(server), threading.Event()

    def flood() -> None:
        with server.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(ENDLESS[what])
            for _ in range(12 * MEBIBYTE // len(filler)):
                connection.sendall(filler)
            everything(connection)
        is_over.set()

    flooder = threading.Thread(target=flood)
    flooder.start()
    while not is_over.is_set():
        assert server.request("/livez").status == 200
    flooder.join()
    assert peak_memory(server) - before < 6 * MEBIBYTE


def test_endless_small_headers_are_refused(server: Server) -> None:
    with server.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(GET)
        for _ in range(200):
            connection.sendall(b"X-Y: z\r\n" * 1000)
        assert b" 431 " in everything(connection).partition(b"\r\n")[0]


def test_slow_request_head_ends_its_connection(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(6)]
        for connection, begun in zip(slow, [b"", b"GET /li", GET, GET + b"X: y", b"\r\n", b""], strict=True):
            connection.sendall(begun)
        slow[5].sendall(GET + b"\r\n")
        assert slow[5].recv(65536).startswith(b"HTTP/1.1 200 ")
        slow[5].sendall(b"GET /li")  # later requests of a connection have a time limit, too
        dripping = True

        def drip() -> None:
            with contextlib.suppress(OSError):
                while dripping:
                    slow[3].sendall(b"y")
                    time.sleep(0.2)

        dripper = threading.Thread(target=drip)
        dripper.start()
        try:
            for connection in slow:
                everything(connection)  # raises TimeoutError if the server keeps it open
        finally:
            dripping = False
            dripper.join()


def test_connections_of_a_worker_are_limited(database_environment: dict[str, str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        with running(database_environment, WEB_CONCURRENCY="1") as server, contextlib.ExitStack() as stack:
            kept = [stack.enter_context(server.connect()) for _ in range(800)]
            kept[-1].sendall(GET + b"\r\n")
            assert kept[-1].recv(65536).startswith(b"HTTP/1.1 200 ")
            with server.connect() as one_more:
                refusal = everything(one_more)
                assert refusal.startswith(b"HTTP/1.1 503 ")
                assert b"retry-after: 5\r\n" in refusal
            kept[0].close()
            wait_until(lambda: answers_to(server, LAST) == [200])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_unfinished_bodies_hold_bounded_memory(server: Server) -> None:
    """Sixty of 2.5 MB, each without its last byte."""
    size = 2_500_000
    head = f"POST /products HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()
    before = peak_memory(server)
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            sender = stack.enter_context(server.connect())
            with contextlib.suppress(OSError):
                sender.sendall(head + b"x" * (size - 1))
        small = b"POST /products HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        assert server.raw(small).json["code"] == "not-authenticated", "a small body needs no reservation"
    assert peak_memory(server) - before < 60 * MEBIBYTE


@pytest.mark.parametrize("framing", [f"Content-Length: {3 * MEBIBYTE}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("target", "status"), [("/nothing", 404), ("/categories", 405), ("/livez", 405), ("/products/x", 404)]
)
def test_body_is_not_read_where_the_route_takes_none(server: Server, framing: str, target: str, status: int) -> None:
    with server.connect() as sender:
        sender.sendall(f"POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode())
        received = everything(sender)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close\r\n" in received


@pytest.mark.parametrize(("target", "max_bytes"), [("/products", 2_621_440), ("/webhooks/partner", 262_144)])
def test_too_large_content_length_is_refused_at_once(server: Server, target: str, max_bytes: int) -> None:
    head = (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {max_bytes + 1}\r\nExpect: 100-continue\r\n\r\n"
    )
    with server.connect() as sender:
        sender.sendall(head.encode())
        received = everything(sender)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert received.count(b"HTTP/1.1 ") == 1, "no 100 Continue"
    assert b"connection: close\r\n" in received


@pytest.mark.parametrize("last_chunk_bytes", [1, 200_000])
def test_chunked_body_beyond_the_limit_is_refused(server: Server, last_chunk_bytes: int) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in (262_144, last_chunk_bytes))
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert server.raw(head + chunks + b"0\r\n\r\n").json["code"] == "payload-too-large"


def test_client_that_keeps_sending_sees_its_413(server: Server) -> None:
    head = b"POST /webhooks/partner HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n"
    for _ in range(20):
        answer = server.raw(head + b"x" * 5_000_000)  # sends all of it before it reads
        assert (answer.status, answer.json["code"]) == (413, "payload-too-large")


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    requests = [
        GET + b"X-Request-ID: %d\r\n\r\n" % n
        if n % 3
        else POST + b"X-Request-ID: %d\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello" % n
        for n in range(300)
    ]
    with server.connect() as connection:
        connection.sendall(b"".join(requests) + LAST)
        received = everything(connection)
    assert re.findall(rb"x-request-id: (\d+)\r\n", received) == [b"%d" % n for n in range(300)]


def test_pipelined_requests_do_not_pile_up_in_memory(server: Server) -> None:
    """The client sends 12 MB of requests and reads nothing."""
    request = GET + b"\r\n"
    before = peak_memory(server)
    with server.connect() as connection:
        connection.settimeout(3)
        with contextlib.suppress(OSError):
            connection.sendall(request * (12 * MEBIBYTE // len(request)))
        assert server.request("/livez").status == 200
    assert peak_memory(server) - before < 60 * MEBIBYTE


@pytest.mark.parametrize("target", ["/livez", "/readyz", "/metrics"])
def test_probes_answer_for_any_host(server: Server, target: str) -> None:
    for host in ("10.0.0.7:8000", "evil.example", "web-7c71_a:8000", ""):
        assert server.request(target, host=host).status == 200, host
    without_host = server.raw(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    assert without_host.status == 200
    assert without_host.headers["content-length"] == str(len(without_host.body))


def test_idle_connection_is_served_while_the_worker_ends(
    database_environment: dict[str, str],
) -> None:
    with (
        running(database_environment, WEB_CONCURRENCY="1") as ending,
        ending.connect() as idle,
        ending.connect() as silent,
    ):
        idle.sendall(GET + b"\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        ending.process.terminate()
        wait_until(lambda: "Shutting down" in ending.log.read_text())
        idle.sendall(GET + b"\r\n")
        answer = everything(idle)
        assert b"HTTP/1.1 200 " in answer
        assert b"connection: close\r\n" in answer
        assert everything(silent) == b""
