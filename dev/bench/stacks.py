"""The servers that are compared, each with two worker processes on a loopback port of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(".local/bench").resolve()
PROJECT = Path.cwd()
PEERS = PROJECT / "dev/bench/peers"
PACKAGES = PROJECT / ".local/node/dev/bench/peers/node_modules"
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))
WORKERS = 2
START_SECONDS = 60
RATE_LIMIT = "1000000/1"  # never reached: what is measured is asking

OURS, FASTIFY, EXPRESS, STOCK, HELLO = "FarmLokal", "Fastify", "Express", "stock DRF", "bare ASGI"
PYTHON_PEER = (
    *(GUNICORN, f"--workers={WORKERS}", "--reuse-port", "--keep-alive=75"),
    *("--no-control-socket", "--bind=127.0.0.1:{port}"),
)


class Kind(NamedTuple):
    folder: Path
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}


KINDS = {
    OURS: Kind(PROJECT, (GUNICORN, "--bind=127.0.0.1:{port}")),
    FASTIFY: Kind(PEERS, ("node", "fastify.js")),
    EXPRESS: Kind(PEERS, ("node", "express.js")),
    STOCK: Kind(
        PEERS,
        (*PYTHON_PEER, "--worker-class=gthread", "--threads=8", "django.core.wsgi:get_wsgi_application()"),
        {"DJANGO_SETTINGS_MODULE": "stock.settings"},
    ),
    HELLO: Kind(PEERS, (*PYTHON_PEER, "--worker-class=uvicorn_worker.UvicornWorker", "hello:application")),
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class Server(NamedTuple):
    name: str
    port: int

    def url(self, target: str) -> str:
        return f"http://127.0.0.1:{self.port}{target}"

    def get(self, target: str, **headers: str) -> Answer:
        request = urllib.request.Request(self.url(target), headers=headers)  # noqa: S310  # it is http
        try:
            response = urllib.request.urlopen(request, timeout=60)  # noqa: S310
        except urllib.error.HTTPError as error:
            response = error
        with response:
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, names, response.read())


@contextmanager
def running(name: str, logs: str = "off", **environment: str) -> Iterator[Server]:
    """With its output in .local/bench: the access log, where logs are "on"."""
    server = Server(name, _free_port())
    folder, command, own = KINDS[name]
    log = FOLDER / f"{name.lower().replace(' ', '-')}.log"
    if name == STOCK:
        environment |= _settings_of_stock(logs, log.with_suffix(".metrics"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *(part.format(port=server.port) for part in command)],
            env={**os.environ, **_settings(server.port, logs), **own, **environment},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_answers(server, process, log)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=40)


def _settings(port: int, logs: str) -> dict[str, str]:
    """What the servers read from their environment; each what it knows."""
    return {
        "PORT": str(port),
        "WEB_CONCURRENCY": str(WORKERS),
        "WORKERS": str(WORKERS),
        "ALLOWED_HOSTS": "127.0.0.1",
        "ACCESS_LOG": logs,
        "METRICS": logs,
        "LOGS": logs,
        "RATE_LIMIT": RATE_LIMIT,
        "RATE_LIMIT_ANONYMOUS": RATE_LIMIT,
        "NODE_ENV": "production",
        "NODE_PATH": str(PACKAGES),
    }


def _settings_of_stock(logs: str, metrics: Path) -> dict[str, str]:
    """gunicorn's access log, and where the counts of several processes are put together."""
    if logs == "off":
        return {}
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir()
    return {"GUNICORN_CMD_ARGS": "--access-logfile=-", "PROMETHEUS_MULTIPROC_DIR": str(metrics)}


def _wait_until_it_answers(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{server.name} does not start, see {log.relative_to(PROJECT)}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
