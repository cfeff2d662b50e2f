"""Other sides that a call may meet, each on a port of its own: they talk as they are told to, or not at all."""

from __future__ import annotations

import contextlib
import datetime as dt
import select
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def listening(talk: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port where each connection is talked to in a thread of its own, until it is hung up."""

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


def request_of(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(4096) or b"\r\n\r\n"
    return found


def saying(answer: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(answer)

    return talk


def dripping(head: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        request_of(connection)
        connection.sendall(head)
        while True:
            connection.sendall(drop)
            time.sleep(0.05)

    return talk


def silent(connection: socket.socket) -> None:
    time.sleep(20)


def without_tls(port: int, heard: bytearray) -> Callable[[socket.socket], None]:
    """The MySQL of this port, except that its greeting offers no TLS; heard collects the client's bytes."""

    def talk(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            greeting = bytearray(server.recv(4096))
            # After packet header, protocol and version: thread id, salt, filler, flags; CLIENT_SSL is bit 11.
            flags = greeting.index(0, 5) + 1 + 4 + 8 + 1
            greeting[flags + 1] &= ~0x08
            client.sendall(greeting)
            while ready := select.select([client, server], [], [], 20)[0]:
                for one in ready:
                    said = one.recv(65536)
                    if not said:
                        return
                    (server if one is client else client).sendall(said)
                    heard.extend(said if one is client else b"")

    return talk


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """A listener whose queue is full drops what comes."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def certificate(folder: Path, *names: x509.GeneralName) -> tuple[ssl.SSLContext, Path]:
    """A server's context for localhost or names, and the certificate that vouches for it."""
    private, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names or [x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    path, pem = folder / "certificate.pem", serialization.Encoding.PEM
    secret = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem))
    (folder / "both.pem").write_bytes(secret + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, path
