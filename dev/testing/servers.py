"""The service as it runs in production: gunicorn on a free port, in processes of its own; and a MySQL and a Redis that
a test may freeze and kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dev.testing.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SMALL = "--innodb-log-file-size=16M --innodb-buffer-pool-size=128M"  # what it writes to begin with, others wait for
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

    def post(self, target: str, body: bytes, headers: Sequence[tuple[str, str]]) -> Answer:
        """JSON."""
        return self.raw(posted(target, body, [*headers, ("Connection", "close")]))

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]


def posted(target: str, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    """A whole request, of JSON."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in [*headers, ("Content-Length", str(len(body)))]]
    return "\r\n".join([*lines, "", ""]).encode("latin1") + body


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
            workers = int({**environment, **overrides}.get("WEB_CONCURRENCY", "2"))
            # All of them: each has a queue of its own.
            wait_until(
                lambda: log.read_text().count("Application startup complete") == workers or process.poll() is not None
            )
            assert process.poll() is None, log.read_text()
            yield Server(port, log, process)
        finally:
            process.terminate()
            process.wait(timeout=30)


class Daemon:
    """A server that may be frozen, killed, and started again on the data that it has left."""

    def __init__(self, url: str, command: Sequence[str], folder: Path, is_ready: Callable[[], object]) -> None:
        self.url = url
        self.pid = 0
        self._command = command
        self.folder = folder
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with Path(self.folder, "daemon.log").open("wb") as log:
            self._process = subprocess.Popen(self._command, cwd=self.folder, stdout=log, stderr=log)
        self.pid = self._process.pid
        wait_until(self._is_ready)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """By kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        if self._process:
            self._process.wait(timeout=30)
            self._process = None

    def end(self) -> None:
        """What this object has started."""
        if self._process:
            self.kill()


@contextmanager
def own_mysql(folder: Path, environment: Mapping[str, str], rows: int, options: str = "") -> Iterator[Daemon]:
    """A MariaDB with so many products; options are for mariadbd."""
    ready, manage = folder / "ready", f"{sys.executable} manage.py"
    work = f"{manage} migrate -v0 && {manage} seed_products {rows} && touch {ready} && sleep 1200"
    keeper = subprocess.Popen(
        ["dev/services.sh", str(folder), "sh", "-c", work],
        env={**environment, "DATABASE_URL": "", "MARIADB_OPTIONS": f"{SMALL} {options}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(ready.exists, 60)
        (url,) = re.findall(r"DATABASE_URL=(\S+)", (folder / "env").read_text())
        pid = int((folder / "mariadb" / "mysql.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        log = folder / "mariadb" / "daemon.log"
        mysql = Daemon(url, command, log.parent, lambda: "ready for connections" in log.read_text())
        mysql.pid = pid
        try:
            yield mysql
        finally:
            mysql.end()
    finally:
        keeper.terminate()
        keeper.wait(timeout=60)


@contextmanager
def own_redis(folder: Path, *options: str) -> Iterator[Daemon]:
    """A Redis that still knows after a kill -9 what it has been told."""
    port = free_port()
    binary = shutil.which("redis-server") or str(Path(".local/bin/redis-server").absolute())
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", *options]
    server = Daemon(f"redis://127.0.0.1:{port}/0", command, folder, lambda: _is_answering(port))
    server.start()
    try:
        yield server
    finally:
        server.end()


def _is_answering(redis_port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", redis_port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100).startswith(b"+PONG")
    except OSError:
        return False
