"""gunicorn finds this file by itself: `gunicorn` alone starts the service."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")

from farmlokal.observability import metrics_folder

os.environ[metrics_folder.VARIABLE] = metrics_folder.prepare()  # before anything imports prometheus_client

from django.conf import settings  # the first use validates the environment, and exits if it is invalid
from django.db import connections
from gunicorn.glogging import Logger

from farmlokal.mysql.driver import TLS_ERROR, ConnectError, connect
from farmlokal.observability import metrics
from farmlokal.server import listeners

# glibc gives each thread a heap, and rarely frees it. Two heaps save 20 MB a worker under load.
M_ARENA_MAX, HEAPS = -8, 2
if hasattr(libc := ctypes.CDLL(None), "mallopt"):
    libc.mallopt(M_ARENA_MAX, HEAPS)

wsgi_app = "farmlokal.asgi:application"
worker_class = "farmlokal.server.worker.Worker"
bind = f"0.0.0.0:{settings.PORT}"
workers = settings.WEB_CONCURRENCY
keepalive = 75  # longer than proxies keep an idle connection, so that they close it first
graceful_timeout = 25
timeout = 30
START_TIMEOUT_SECONDS = 1
control_socket_disable = True
logconfig_dict = settings.LOGGING


class logger_class(Logger):  # type: ignore[misc]  # noqa: N801  # gunicorn requires this name
    # farmlokal.observability.logs writes the request line. With a logconfig_dict gunicorn would write one too.
    access_log_enabled = False

    def info(self, msg: str, *args: object, **kwargs: object) -> None:
        """Omits gunicorn's "Listening at:", which names descriptors instead of addresses. when_ready() logs these."""
        if not msg.startswith("Listening at:"):
            super().info(msg, *args, **kwargs)


def on_starting(server: Any) -> None:
    """Exit if the database refuses TLS, or the port is taken. If the database is only away, the service starts, and
    answers 503 until it is back."""
    try:
        _check_tls()
        listeners.open_slots(server)
    except (ConnectError, OSError) as error:
        sys.exit(f"farmlokal: {error.args[1]}")


def _check_tls() -> None:
    parameters = connections["default"].get_connection_params()
    if parameters["ssl_mode"] == "DISABLED":
        return
    try:
        connect(parameters, START_TIMEOUT_SECONDS).close()
    except ConnectError as error:
        if error.args[0] == TLS_ERROR:
            raise


def when_ready(server: Any) -> None:
    server.log.info("Serving on %s", ", ".join(server.cfg.bind))


def pre_fork(server: Any, worker: Any) -> None:
    metrics_folder.make_again()
    listeners.assign_slot(server, worker)


post_fork = listeners.enter_slot


def nworkers_changed(server: Any, count: int, _: int | None) -> None:
    listeners.close_slots(server, count)


def post_worker_init(worker: Any) -> None:
    # All objects so far live as long as the process, so no collection needs to look at them again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(4_000)  # at 20,000 a collection would stop all requests for 15 ms


def child_exit(server: Any, worker: Any) -> None:
    metrics.fold(worker.pid, alive=server.WORKERS)
