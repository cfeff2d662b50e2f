"""A case: bytes for one connection. And the well-formed requests among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote_from_bytes

HOST = "127.0.0.1"
SAFE = "/?&=;:@!$'()*+,-._~%"  # a % stays: it may begin a broken escape


class Case(NamedTuple):
    source: str
    pieces: tuple[bytes, ...]
    pause: float = 0  # seconds between the pieces
    is_raw: bool = False  # needs a connection of its own; it may get no response, or several
    is_cut: bool = False  # the client resets the connection instead of reading
    allowed: frozenset[int] = frozenset()  # statuses from 500 that are right


def encoded(text: str) -> str:
    """For a request's target."""
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), SAFE)


def header_text(text: str) -> str:
    """What a header may contain: also bytes above 127, but no control characters."""
    visible = "".join(char if char >= " " and char != "\x7f" else "?" for char in text)
    return visible.encode("utf-8", "surrogatepass").decode("latin1").strip()


def request(source: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None) -> Case:
    """A HEAD response has no body in spite of its Content-Length, so HEAD gets a connection of its own."""
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in ({"Host": HOST} | dict(headers)).items()),
    ]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    if method == "HEAD":
        lines.append("Connection: close")
    head = "\r\n".join([*lines, "", ""]).encode("latin1")
    return Case(source, (head + (body or b""),), is_raw=method == "HEAD")
