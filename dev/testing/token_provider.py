"""An OAuth 2.0 token endpoint on a real socket. Tests choose its answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response


def issued(number: int, **members: Any) -> Response:
    """An answer with a token. A member that is None is left out."""
    document = {"access_token": f"token-{number}", "token_type": "Bearer", "expires_in": 3600} | members
    document = {name: value for name, value in document.items() if value is not None}
    return Response(json.dumps(document), content_type="application/json")


def refused(status: int, headers: Mapping[str, str] | None = None, error: str = "invalid_client") -> Response:
    return Response(json.dumps({"error": error}), status, headers, content_type="application/json")


class Provider:
    """answer: makes the answer from the number of the call, which starts at 1."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("/token")
        self.answer: Callable[[int], Response] = issued
        self.calls: list[float] = []  # times (time.monotonic)
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        server.expect_request("/token", method="POST").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        with self._lock:
            self.calls.append(time.monotonic())
            self.requests.append(request)
            number = len(self.calls)
        return self.answer(number)

    @property
    def settings(self) -> dict[str, str]:
        return {"OAUTH_TOKEN_URL": self.url, "OAUTH_CLIENT_ID": "farm lokal", "OAUTH_CLIENT_SECRET": "s3cret:&%"}


class PromptServer(HTTPServer):
    """Stops at once, not after up to half a second."""

    def thread_target(self) -> None:
        assert self.server is not None
        self.server.serve_forever(poll_interval=0.01)


@contextmanager
def serving() -> Iterator[HTTPServer]:
    server = PromptServer(threaded=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def provider() -> Iterator[Provider]:
    with serving() as server:
        yield Provider(server)
