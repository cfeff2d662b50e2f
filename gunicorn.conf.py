"""gunicorn reads this by itself; `gunicorn` alone starts the service."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # else this is a reload
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="farmlokal-metrics-")

from django.conf import settings  # the first use reads the environment, and ends the start if it is bad
from gunicorn.glogging import Logger

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
limit_request_line = 32 * 1024  # above our own limit, which answers 414 as problem+json
forwarded_allow_ips = ""  # X-Forwarded-* is Django's to judge, by TRUSTED_PROXY_HOPS
control_socket_disable = True
logconfig_dict = settings.LOGGING


class logger_class(Logger):  # type: ignore[misc]  # noqa: N801  # gunicorn names it
    access_log_enabled = (
        False  # farmlokal.logs writes the request line; with a logconfig_dict gunicorn would make its own
    )


def post_worker_init(worker: Any) -> None:
    """What is there now stays as long as the process: no later collection looks through it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(4_000)  # few objects outlive a request; five times as many at once would stop all for 15 ms


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
