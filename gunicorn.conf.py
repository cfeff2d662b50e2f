"""gunicorn reads this by itself; `gunicorn` alone starts the service."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
from functools import partial
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # else this is a reload
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="farmlokal-metrics-")

from django.conf import settings  # the first use reads the environment, and ends the start if it is bad
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.glogging import Logger
from gunicorn_h1c import H1CProtocol

wsgi_app = "farmlokal.asgi:application"
worker_class = "asgi"
http_parser = "fast"  # gunicorn_h1c; without it a request costs 12-35 % more CPU
asgi_loop = "uvloop"  # asyncio's own takes half as long again for a cached page
bind = f"0.0.0.0:{settings.PORT}"
reuse_port = True  # the kernel deals connections out; of a shared socket one worker often took all of a client's
workers = settings.WEB_CONCURRENCY
keepalive = 75  # longer than the proxies in front keep an idle connection, so that they close it first
graceful_timeout = 25
timeout = 30
READ_WAIT_SECONDS = 30  # for a client that reads nothing of its answer, or is gone without a word
limit_request_line = 32 * 1024  # above our own limit, which answers 414 as problem+json
forwarded_allow_ips = ""  # X-Forwarded-* is Django's to judge, by TRUSTED_PROXY_HOPS
control_socket_disable = True
logconfig_dict = settings.LOGGING


# A request that arrives while the one before it on its connection is being ended is put aside, by default up to 64 KiB
# of it; with more, the connection is closed without an answer. A webhook may have 256 KiB.
PUT_ASIDE_BYTES = 512 * 1024
PIECE_BYTES = 16 * 1024


class Parser(H1CProtocol):  # type: ignore[misc]
    """H1CProtocol takes quadratic time for a buffer of many tiny chunks; fed in small pieces it stays linear."""

    def feed(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE_BYTES):
            super().feed(data[at : at + PIECE_BYTES])


ASGIProtocol._check_h1c_protocol_available()
ASGIProtocol._h1c_protocol_class = partial(Parser, limit_remaining=PUT_ASIDE_BYTES)


class logger_class(Logger):  # type: ignore[misc]  # noqa: N801  # gunicorn names it
    # farmlokal.logs writes the request line; with a logconfig_dict gunicorn would make its own, too.
    access_log_enabled = False


def post_worker_init(worker: Any) -> None:
    for listener in worker.sockets:  # whose connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_WAIT_SECONDS * 1000)
    # What is there now stays as long as the process: no later collection looks through it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(4_000)  # few objects outlive a request; at 20,000 one collection would stop all requests for 15 ms


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
