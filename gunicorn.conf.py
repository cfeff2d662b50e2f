"""gunicorn reads this by itself; `gunicorn` alone starts the service."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
import tempfile
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # else this is a reload
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="farmlokal-metrics-")

from django.conf import settings  # the first use reads the environment, and ends the start if it is bad
from django.db import connections
from gunicorn.glogging import Logger

from farmlokal.mysql.driver import TLS_ERROR, ConnectError, connect
from farmlokal.observability import metrics

wsgi_app = "farmlokal.asgi:application"
worker_class = "farmlokal.server.worker.Worker"
bind = f"0.0.0.0:{settings.PORT}"
reuse_port = True  # the kernel deals connections out; of a shared socket one worker often took all of a client's
workers = settings.WEB_CONCURRENCY
keepalive = 75  # longer than the proxies in front keep an idle connection, so that they close it first
graceful_timeout = 25
timeout = 30
START_TIMEOUT_SECONDS = 1
READ_WAIT_SECONDS = 30  # for a client that reads nothing of its answer, or is gone without a word
control_socket_disable = True
logconfig_dict = settings.LOGGING


class logger_class(Logger):  # type: ignore[misc]  # noqa: N801  # gunicorn names it
    # farmlokal.observability.logs writes the request line; with a logconfig_dict gunicorn would make its own, too.
    access_log_enabled = False


def on_starting(server: Any) -> None:
    """End the start if the database refuses TLS. One that is away may come back: the service answers 503 until then."""
    parameters = connections["default"].get_connection_params()
    if parameters["ssl_mode"] == "DISABLED":
        return
    limits = dict.fromkeys(["connect_timeout", "read_timeout", "write_timeout"], START_TIMEOUT_SECONDS)
    try:
        connect(parameters | limits).close()
    except ConnectError as error:
        if error.args[0] == TLS_ERROR:
            on_exit(server)
            sys.exit(f"farmlokal: {error.args[1]}")


def post_worker_init(worker: Any) -> None:
    for listener in worker.sockets:  # whose connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_WAIT_SECONDS * 1000)
    # What is there now stays as long as the process: no later collection looks through it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(4_000)  # few objects outlive a request; at 20,000 one collection would stop all requests for 15 ms


def child_exit(server: Any, worker: Any) -> None:
    metrics.fold(worker.pid, alive=server.WORKERS)


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
