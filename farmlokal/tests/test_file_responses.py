"""Files as responses: small ones travel in memory, large ones stay on the disk until the client has read them."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders

from dev.testing.servers import running
from farmlokal.edge.asgi_types import Response
from farmlokal.edge.wsgi_calls import MAX_FILE_BYTES, call

SCOPE = {"method": "GET", "path": "/", "query_string": b"", "http_version": "1.1", "scheme": "http", "headers": []}


def response_with(content: bytes) -> Response:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the server
        file.write(content)
        file.seek(0)
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file, 8192)

    return call(application, SCOPE, b"")  # type: ignore[arg-type]  # any WSGI application


@pytest.mark.parametrize("size", [0, 1, MAX_FILE_BYTES])
def test_small_file_is_read_at_once(size: int) -> None:
    assert response_with(b"x" * size) == Response(200, [], b"x" * size)


def test_large_file_outlives_the_thread() -> None:
    response = response_with(b"x" * (MAX_FILE_BYTES + 1))
    assert response.body == b""
    assert response.file
    with response.file as file:
        assert file.read() == b"x" * (MAX_FILE_BYTES + 1)


@pytest.mark.usefixtures("live_database")
def test_large_file_arrives_whole(database_environment: dict[str, str]) -> None:
    with running(database_environment, WEB_CONCURRENCY="1") as server:
        (url,) = re.findall(r'/static/[^"]*swagger-ui-bundle[^"]*', server.request("/docs").body.decode())
        answer = server.request(url)
    content = Path(str(finders.find(url.removeprefix("/static/").partition("?")[0]))).read_bytes()
    assert len(content) > MAX_FILE_BYTES
    assert (answer.body, answer.headers["content-length"]) == (content, str(len(content)))
