"""The upper bound: an ASGI application that sends the page and its headers from memory."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_page = json.loads(Path(os.environ["PAGE"]).read_text())
_body = _page["body"].encode()
_constant = _page["headers"] | _page["changing"] | {"content-length": str(len(_body))}
_start = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name.encode(), value.encode()) for name, value in _constant.items()],
}
_whole = {"type": "http.response.body", "body": _body}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await send(_start)
        await send(_whole)


async def logged(scope: Scope, receive: Receive, send: Send) -> None:
    start = time.perf_counter()
    await hello(scope, receive, send)
    milliseconds = round((time.perf_counter() - start) * 1000, 2)
    line = {"event": "request", "method": scope.get("method"), "path": scope.get("path"), "status": 200}
    sys.stdout.buffer.write(orjson.dumps({**line, "milliseconds": milliseconds, "time": time.time()}) + b"\n")


application = logged if os.environ["LOGS"] == "on" else hello
