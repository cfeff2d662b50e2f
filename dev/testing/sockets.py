"""Misbehaving TCP servers, each on a loopback port: slow, silent, unreachable, or with a certificate of our making."""

from __future__ import annotations

import contextlib
import datetime as dt
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Talk = Callable[[socket.socket], None]

IDLE_SECONDS = 60


@contextlib.contextmanager
def listening(talk: Talk, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Yield a port; talk(connection) runs in a new thread for each connection, which is closed when it returns."""

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def read_request(connection: socket.socket) -> bytes:
    """Read up to the blank line that ends an HTTP request's header."""
    header = b""
    while b"\r\n\r\n" not in header:
        header += connection.recv(4096) or b"\r\n\r\n"
    return header


def answer_with(response: bytes) -> Talk:
    """Send the response after each request."""

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(response)

    return talk


def drip(head: bytes, drop: bytes) -> Talk:
    """Send head, then drop again and again without end."""

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        while True:
            connection.sendall(drop)
            time.sleep(0.05)

    return talk


def stay_silent(connection: socket.socket) -> None:
    """Accept the connection, then neither read nor write."""
    time.sleep(IDLE_SECONDS)


def mysql_without_tls(port: int, from_client: bytearray) -> Talk:
    """Forward to the MySQL on this port, but remove TLS from its greeting; from_client collects the client's bytes."""

    def talk(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            greeting = bytearray(server.recv(4096))
            # After packet header, protocol and version: thread id, salt, filler, flags; CLIENT_SSL is bit 11.
            flags = greeting.index(0, 5) + 1 + 4 + 8 + 1
            greeting[flags + 1] &= ~0x08
            client.sendall(greeting)
            while readable := select.select([client, server], [], [], IDLE_SECONDS)[0]:
                for source in readable:
                    data = source.recv(65536)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)
                    from_client.extend(data if source is client else b"")

    return talk


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """Yield a port that answers no SYN: the listener's queue is full, so the kernel drops new connections."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def make_certificate(folder: Path, *names: x509.GeneralName) -> tuple[ssl.SSLContext, Path]:
    """Return a server's TLS context and the path of its self-signed certificate, for localhost or the given names.

    The folder also gets both.pem, the key and the certificate in one file.
    """
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names or [x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path, both_path = folder / "certificate.pem", folder / "both.pem"
    private_key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem))
    both_path.write_bytes(private_key + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both_path)
    return context, path
