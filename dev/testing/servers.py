"""Servers in processes of their own: the service under gunicorn, and a MySQL and a Redis that a test may kill."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dev.testing.programs import program
from dev.testing.waiting import wait_until

# Small files: a test waits until mariadbd has written them.
SMALL_MARIADB = "--innodb-log-file-size=16M --innodb-buffer-pool-size=128M"
TIMEOUT_SECONDS = 60
MYSQL_START_SECONDS = 300
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))


class Answer(NamedTuple):
    """An HTTP response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A running service: its port, its log and its gunicorn master process."""

    def __init__(self, port: int, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.log = log
        self.process = process

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def workers(self) -> list[int]:
        """The processes that gunicorn's master has started, the oldest first."""
        master = self.process.pid
        return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECONDS)

    def raw(self, request: bytes) -> Answer:
        """Send these bytes, and parse the response once the server closes the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            response = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = response.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(int(status.split()[1]), headers, body)

    def request(self, target: str, method: str = "GET", host: str = "localhost", **headers: str) -> Answer:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.raw("\r\n".join([*lines, "", ""]).encode())

    def post(self, target: str, body: bytes, headers: Sequence[tuple[str, str]]) -> Answer:
        """POST a JSON body."""
        return self.raw(json_request(target, body, [*headers, ("Connection", "close")]))

    def has_logged(self, text: str, times: int = 1) -> bool:
        """True if the log has this text at least so many times."""
        return self.log.read_text().count(text) >= times

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """All logged events of this name."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]


def json_request(target: str, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    """The bytes of a POST request with a JSON body."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in [*headers, ("Content-Length", str(len(body)))]]
    return "\r\n".join([*lines, "", ""]).encode("latin1") + body


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def steady_ports(count: int) -> list[int]:
    """Free loopback ports that no outgoing connection can take while their server is down."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = random.sample(range(min(10_000, lowest - 2_000), lowest), 100 * count)
    return list(islice(filter(_is_free, candidates), count))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def running(environment: Mapping[str, str], **overrides: str) -> Iterator[Server]:
    """Run the service under gunicorn with these environment variables, from all workers' start on."""
    port = int(overrides.get("PORT") or free_port())
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [GUNICORN], env={**environment, "PORT": str(port), **overrides}, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            workers = int({**environment, **overrides}.get("WEB_CONCURRENCY", "2"))
            wait_until(  # for all workers, because the kernel deals connections to each
                lambda: log.read_text().count("Application startup complete") == workers or process.poll() is not None
            )
            assert process.poll() is None, log.read_text()
            yield Server(port, log, process)
        finally:
            process.terminate()
            process.wait(timeout=TIMEOUT_SECONDS)


class Daemon:
    """A server process that a test may freeze, kill, and start again on the same data."""

    def __init__(self, url: str, command: Sequence[str], folder: Path, is_ready: Callable[[], object]) -> None:
        self.url = url
        self.pid = 0
        self.folder = folder
        self._command = command
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Return once it is ready. The options are for this start only."""
        with Path(self.folder, "daemon.log").open("wb") as log:
            self._process = subprocess.Popen([*self._command, *options], cwd=self.folder, stdout=log, stderr=log)
        self.pid = self._process.pid
        process = self._process
        wait_until(lambda: self._is_ready() or process.poll() is not None)
        assert process.poll() is None, f"ended at its start, see {log.name}"

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL: the server has no chance to save anything."""
        if self._process:
            self._process.kill()  # no error if it has ended
            self._process.wait(timeout=TIMEOUT_SECONDS)
            self._process = None
        else:
            os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """Kill the process if this object started it."""
        if self._process:
            self.kill()


@contextmanager
def own_mysql(folder: Path, environment: Mapping[str, str], rows: int, options: str = "") -> Iterator[Daemon]:
    """Run a MariaDB with this many sample products; options go to mariadbd."""
    ready, manage = folder / "ready", f"{sys.executable} manage.py"
    script = f"{manage} migrate -v0 && {manage} seed_products {rows} && touch {ready} && sleep 3600"
    supervisor = subprocess.Popen(
        ["dev/services.sh", str(folder), "sh", "-c", script],
        env={**environment, "DATABASE_URL": "", "MARIADB_OPTIONS": f"{SMALL_MARIADB} {options}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: ready.exists() or supervisor.poll() is not None, MYSQL_START_SECONDS)
        assert supervisor.poll() is None, f"MariaDB did not start, see {folder}"
        mysql = _adopt_mysql(folder)
        try:
            yield mysql
        finally:
            mysql.stop()
    finally:
        supervisor.terminate()
        supervisor.wait(timeout=TIMEOUT_SECONDS)


def _adopt_mysql(folder: Path) -> Daemon:
    """The MariaDB that services.sh runs in this folder."""
    (url,) = re.findall(r"DATABASE_URL=(\S+)", (folder / "env").read_text())
    pid = int((folder / "mariadb" / "mysql.pid").read_text())
    command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    log = folder / "mariadb" / "daemon.log"
    mysql = Daemon(url, command, log.parent, lambda: "ready for connections" in log.read_text())
    mysql.pid = pid
    return mysql


@contextmanager
def own_redis(folder: Path, *options: str, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[Daemon]:
    """Run a Redis that keeps its data after a SIGKILL; options go to redis-server. environment: more variables."""
    port = free_port()
    variables = [f"{name}={value}" for name, value in environment.items()]
    command = ["env", *variables, program("redis-server"), "--port", str(port)]
    command += ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", *options]
    redis = Daemon(f"redis://127.0.0.1:{port}/0", command, folder, lambda: answers_ping(port))
    redis.start()
    try:
        yield redis
    finally:
        redis.stop()


def answers_ping(redis_port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", redis_port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100).startswith(b"+PONG")
    except OSError:
        return False
