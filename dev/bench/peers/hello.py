"""The upper bound: an ASGI application that sends pages and their headers from memory."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Page(NamedTuple):
    start: dict[str, Any]
    whole: dict[str, Any]


def _page(headers: dict[str, str], body: str) -> Page:
    whole = body.encode()
    fields = headers | {"content-length": str(len(whole))}
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    start = {"type": "http.response.start", "status": 200, "headers": encoded}
    return Page(start, {"type": "http.response.body", "body": whole})


def _read(file: Path) -> dict[tuple[str, bytes], Page]:
    """The pages by path and query. Each line of the file has the target, the headers and the body of one."""
    pages = {}
    with file.open() as lines:
        for line in lines:
            target, headers, body = json.loads(line)
            path, _, query = target.partition("?")
            pages[path, query.encode()] = _page(headers, body)
    return pages


_pages = _read(Path(os.environ["PAGES_FILE"]))


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        page = _pages[scope["path"], scope["query_string"]]
        await send(page.start)
        await send(page.whole)


async def logged(scope: Scope, receive: Receive, send: Send) -> None:
    start = time.perf_counter()
    await hello(scope, receive, send)
    milliseconds = round((time.perf_counter() - start) * 1000, 2)
    line = {"event": "request", "method": scope.get("method"), "path": scope.get("path"), "status": 200}
    sys.stdout.buffer.write(orjson.dumps({**line, "milliseconds": milliseconds, "time": time.time()}) + b"\n")


application = logged if os.environ["LOGS"] == "on" else hello
