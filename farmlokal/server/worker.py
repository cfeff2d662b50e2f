"""gunicorn's worker: uvicorn with our protocol."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
from typing import Any, ClassVar

from gunicorn.arbiter import Arbiter
from uvicorn_worker import UvicornWorker

from farmlokal.server.draining import DrainingServer
from farmlokal.server.protocol import Protocol


class Worker(UvicornWorker):  # type: ignore[misc]  # the library has no types
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",  # asyncio's own loop takes half as long again for a cached page
        "http": Protocol,
        "ws": "none",
        "lifespan": "on",
        "proxy_headers": False,  # farmlokal.edge.forwarded reads them
        "server_header": False,
        "access_log": False,  # farmlokal.observability.logs writes the request line
        # Show gunicorn each second that the event loop runs. uvicorn measures pauses by the wall clock: with any other
        # value, a clock that is set back silences the worker, and gunicorn kills it.
        "timeout_notify": -math.inf,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logging.getLogger("uvicorn.error").propagate = True  # to our handler; gunicorn's logger has none

    def init_signals(self) -> None:
        super().init_signals()
        # uvicorn raises the signal again after it has stopped. The default action would skip atexit.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _exit)

    async def callback_notify(self) -> None:
        """Each second. As gunicorn's own workers do, end after a killed gunicorn: the next one has its own workers."""
        await super().callback_notify()
        if os.getppid() != self.ppid:
            os.kill(os.getpid(), signal.SIGTERM)

    async def _serve(self) -> None:
        """As uvicorn_worker does, with our server. It would also ignore SIGQUIT, the signal of gunicorn's quick end."""
        self.config.app = self.wsgi
        server = DrainingServer(self.config, self.slot, self.age)
        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, server.handle_exit, signal.SIGTERM, None)
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


def _exit(*_: object) -> None:
    sys.exit(0)
