"""The sandbox in this process, and the settings that make the service call it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from integrations.sandbox.server import Sandbox

SECRET = "farmlokal-secret"
FAILURES_TO_OPEN = 25  # in a row, for a closed breaker that has counted nothing yet


@contextmanager
def partner() -> Iterator[Sandbox]:
    sandbox = Sandbox()
    thread = threading.Thread(target=sandbox.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield sandbox
    finally:
        sandbox.shutdown()
        sandbox.server_close()


def settings_for(sandbox: Sandbox) -> dict[str, str]:
    return {
        "PARTNER_API_URL": sandbox.url,
        "OAUTH_TOKEN_URL": f"{sandbox.url}/oauth/token",
        "OAUTH_CLIENT_ID": "farmlokal",
        "OAUTH_CLIENT_SECRET": SECRET,
    }
