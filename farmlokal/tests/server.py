"""The service as it runs in production: gunicorn on a free port, in processes of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from farmlokal.tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GUNICORN = str(Path(sys.executable).with_name("gunicorn"))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    def __init__(self, port: int, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.log = log
        self.process = process

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, request: bytes) -> Answer:
        """What the server sends back for these bytes until it closes the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(status.split()[1]), headers, body)

    def request(self, target: str, method: str = "GET", host: str = "localhost", **headers: str) -> Answer:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.raw("\r\n".join([*lines, "", ""]).encode())

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(environment: Mapping[str, str], **overrides: str) -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [GUNICORN], env={**environment, "PORT": str(port), **overrides}, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_until(lambda: "ASGI server listening" in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield Server(port, log, process)
        finally:
            process.terminate()
            process.wait(timeout=30)
