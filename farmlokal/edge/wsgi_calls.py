"""Runs Django for one ASGI request whose body is complete."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO

from django.core.handlers.wsgi import WSGIHandler

from farmlokal.edge.asgi_types import Response, Scope

Environ = dict[str, Any]

FRAMING = {
    b"content-length",
    b"transfer-encoding",
}  # of the body as sent; CONTENT_LENGTH states the length that we pass on

MAX_FILE_BYTES = 64 * 1024  # a larger file is sent from the disk


class FileBody:
    """wsgi.file_wrapper of PEP 3333: Django wraps the open file of a FileResponse in it."""

    def __init__(self, file: BinaryIO, block_size: int) -> None:
        self._file = file
        self._block_size = block_size
        self.close = file.close  # Django has replaced it by the end of the request

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(self._block_size), b"")

    def large_file(self) -> BinaryIO | None:
        """The file, open until its sender closes it, so that a slow reader holds no thread. None if it is small."""
        number = self._file.fileno()
        return os.fdopen(os.dup(number), "rb") if os.fstat(number).st_size > MAX_FILE_BYTES else None


def call(application: WSGIHandler, scope: Scope, body: bytes) -> Response:
    """Run Django in this thread."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        started.append((status, headers))

    response: Any = application(environ_of(scope, body), start_response)
    with closing(response) as chunks:
        file = chunks.large_file() if isinstance(chunks, FileBody) else None
        content = b"" if file else b"".join(chunks)
    status, headers = started[-1]
    encoded = [(name.lower().encode("latin1"), value.encode("latin1")) for name, value in headers]
    return Response(int(status[:3]), encoded, content, file)


def environ_of(scope: Scope, body: bytes) -> Environ:
    """PEP 3333: text is bytes decoded as Latin-1."""
    server, port = scope.get("server") or ("localhost", 80)
    client, client_port = scope.get("client") or ("", 0)
    environ: Environ = {
        "asgi.scope": scope,
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin1"),
        "QUERY_STRING": scope["query_string"].decode("latin1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server,
        "SERVER_PORT": str(port or 0),
        "REMOTE_ADDR": client,
        "REMOTE_PORT": str(client_port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.file_wrapper": FileBody,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in scope["headers"]:
        if name not in FRAMING and b"_" not in name:  # X_Forwarded_For would pass for X-Forwarded-For
            _add_header(environ, name, value.decode("latin1"))
    return environ


def _add_header(environ: Environ, name: bytes, value: str) -> None:
    variable = name.decode("latin1").upper().replace("-", "_")
    if variable != "CONTENT_TYPE":
        variable = f"HTTP_{variable}"
    environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
