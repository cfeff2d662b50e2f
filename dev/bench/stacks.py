"""The servers that are compared, each with two worker processes on a loopback port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dev.bench.client import HOST
from dev.testing.servers import GUNICORN, Answer, free_port

FOLDER = Path(".local/bench").resolve()
PROJECT = Path.cwd()
PEERS = PROJECT / "dev/bench/peers"
PACKAGES = PROJECT / ".local/node/dev/bench/peers/node_modules"
WORKERS = 2
START_SECONDS = 60
RATE_LIMIT = "1000000/1"  # never reached: the benchmark measures the check alone

OURS, FASTIFY, EXPRESS, STOCK, HELLO = "FarmLokal", "Fastify", "Express", "stock DRF", "bare ASGI"
ON_CLUSTER = "FarmLokal, 3 masters"
STARTED = "Application startup complete"
PYTHON_PEER = (
    *(GUNICORN, f"--workers={WORKERS}", "--reuse-port", "--keep-alive=75"),
    *("--no-control-socket", "--bind=127.0.0.1:{port}"),
)


class Stack(NamedTuple):
    """How to start a server."""

    folder: Path
    command: tuple[str, ...]
    ready: str  # each worker logs it
    environment: Mapping[str, str] = {}


STACKS = {
    OURS: Stack(PROJECT, (GUNICORN, "--bind=127.0.0.1:{port}"), STARTED),
    ON_CLUSTER: Stack(PROJECT, (GUNICORN, "--bind=127.0.0.1:{port}"), STARTED),
    FASTIFY: Stack(PEERS, ("node", "fastify.js"), "worker listens"),
    EXPRESS: Stack(PEERS, ("node", "express.js"), "worker listens"),
    STOCK: Stack(
        PEERS,
        (*PYTHON_PEER, "--worker-class=gthread", "--threads=8", "django.core.wsgi:get_wsgi_application()"),
        "Booting worker",
        {"DJANGO_SETTINGS_MODULE": "stock.settings"},
    ),
    HELLO: Stack(PEERS, (*PYTHON_PEER, "--worker-class=uvicorn_worker.UvicornWorker", "hello:application"), STARTED),
}


class Server(NamedTuple):
    """A running server."""

    name: str
    port: int
    pid: int  # of the parent of the workers

    def url(self, target: str) -> str:
        return f"http://127.0.0.1:{self.port}{target}"

    def get(self, target: str, **headers: str) -> Answer:
        request = urllib.request.Request(self.url(target), headers={"Host": HOST, **headers})
        try:
            response = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            lower_case = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, lower_case, response.read())


@contextmanager
def running(name: str, logs: str = "off", **environment: str) -> Iterator[Server]:
    """Run a stack; logs is "on" or "off". Its output, with the access log, goes to .local/bench."""
    stack, port = STACKS[name], free_port()
    log = FOLDER / f"{name.lower().replace(' ', '-')}.log"
    if name == STOCK:
        environment |= _stock_settings(logs, log.with_suffix(".metrics"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *(part.format(port=port) for part in stack.command)],
            env={**os.environ, **_settings(port, logs), **stack.environment, **environment},
            cwd=stack.folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(name, port, process.pid)
    try:
        _wait_until_ready(server, process, log, int(environment.get("WEB_CONCURRENCY", WORKERS)))
        yield server
    finally:
        process.terminate()
        process.wait(timeout=40)


def _settings(port: int, logs: str) -> dict[str, str]:
    """Environment variables of all stacks; each reads the ones it knows."""
    return {
        "PORT": str(port),
        "WEB_CONCURRENCY": str(WORKERS),
        "WORKERS": str(WORKERS),
        "ALLOWED_HOSTS": HOST,
        "ACCESS_LOG": logs,
        "METRICS": logs,
        "LOGS": logs,
        "RATE_LIMIT": RATE_LIMIT,
        "RATE_LIMIT_ANONYMOUS": RATE_LIMIT,
        "NODE_ENV": "production",
        "NODE_PATH": str(PACKAGES),
    }


def _stock_settings(logs: str, metrics: Path) -> dict[str, str]:
    """gunicorn's access log, and the folder where prometheus_client sums the counts of all workers."""
    if logs == "off":
        return {}
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir()
    return {"GUNICORN_CMD_ARGS": "--access-logfile=-", "PROMETHEUS_MULTIPROC_DIR": str(metrics)}


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path, workers: int) -> None:
    """Wait for all workers, because the kernel deals connections to each."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if log.read_text().count(STACKS[server.name].ready) >= workers and _is_listening(server.port):
            return
        time.sleep(0.02)
    raise SystemExit(f"{server.name} does not start, see {log.relative_to(PROJECT)}")


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
