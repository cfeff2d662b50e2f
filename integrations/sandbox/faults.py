"""Faults of the sandbox. They can be changed while it runs."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import time
from dataclasses import dataclass, fields
from http.server import BaseHTTPRequestHandler
from typing import Any

MAX_SECONDS = 60.0
DRIP_SECONDS = 0.1
HUGE_BYTES = 200 * 1024 * 1024
CHUNK = b" " * 64 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Faults:
    """latency_ms: before each answer. error_rate: the share (0 to 1) of answers with `status`. retry_after: seconds.

    how: a key of HOW, for all calls.
    """

    latency_ms: float = 0
    error_rate: float = 0
    status: int = 500
    retry_after: int | None = None
    how: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        _check("latency_ms", self.latency_ms, 0, 60_000)
        _check("error_rate", self.error_rate, 0, 1)
        _check("status", self.status, 400, 599)
        _check("retry_after", self.retry_after or 0, 0, 100_000)
        if self.how not in ["", *HOW]:
            raise ValueError(f"how must be empty or one of {', '.join(HOW)}")

    @classmethod
    def read(cls, body: bytes) -> Faults:
        """Raises ValueError."""
        members, names = json.loads(body), [field.name for field in fields(cls)]
        if not isinstance(members, dict) or members.keys() - set(names):
            raise ValueError(f"the body must be a JSON object with any of {', '.join(names)}")
        return cls(**members)

    def strike(self) -> bool:
        """Wait for the latency. Returns whether this call fails."""
        time.sleep(self.latency_ms / 1000)
        return random.random() < self.error_rate  # noqa: S311  # no secret


def _check(name: str, value: Any, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least} to {most}")


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    _drip(handler, HEAD, b"X-Drop: 1\r\n")


def drip_body(handler: BaseHTTPRequestHandler) -> None:
    _drip(handler, HEAD + b"Content-Length: 9999\r\n\r\n", b" ")


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.settimeout(MAX_SECONDS)
    handler.connection.recv(1)  # until the caller hangs up


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(HEAD + b'Content-Length: 9999\r\n\r\n{"available": tr')
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def huge(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(HEAD + f"Content-Length: {HUGE_BYTES}\r\n\r\n".encode())
    for _ in range(HUGE_BYTES // len(CHUNK)):
        handler.wfile.write(CHUNK)


def bad_json(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(HEAD + b'Content-Length: 13\r\n\r\n{"available":')


HOW = {
    "drip-headers": drip_headers,
    "drip-body": drip_body,
    "silent": silent,
    "reset": reset,
    "huge": huge,
    "bad-json": bad_json,
}


def misbehave(how: str, handler: BaseHTTPRequestHandler) -> None:
    """Misbehave until the caller hangs up."""
    handler.close_connection = True
    with contextlib.suppress(OSError):
        HOW[how](handler)


def _drip(handler: BaseHTTPRequestHandler, head: bytes, drop: bytes) -> None:
    handler.wfile.write(head)
    for _ in range(int(MAX_SECONDS / DRIP_SECONDS)):
        handler.wfile.write(drop)
        time.sleep(DRIP_SECONDS)
