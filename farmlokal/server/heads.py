"""The rules of RFC 9112 for a request's head that the parser leaves to us."""

from __future__ import annotations

from typing import TypeAlias

import httptools

from farmlokal.http.problems import MAX_REQUEST_LINE_BYTES

Headers: TypeAlias = list[tuple[bytes, bytes]]

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100


class HeadRefusedError(Exception):
    """Arguments: status and text of the response."""


def check_head(parser: httptools.HttpRequestParser, target: bytes, headers: Headers) -> bytes:
    """Returns the target in origin form. May replace the Host header. Raises HeadRefusedError."""
    check_head_size(len(target) + sum(len(name) + len(value) for name, value in headers), target)
    if len(headers) > MAX_HEADERS:
        raise HeadRefusedError(431, f"A request may have at most {MAX_HEADERS} headers.")
    if parser.get_method() == b"CONNECT":
        raise HeadRefusedError(405, "CONNECT is not supported.")
    version = parser.get_http_version()
    if version not in {"1.0", "1.1"}:
        raise HeadRefusedError(505, "The version must be HTTP/1.0 or HTTP/1.1.")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise HeadRefusedError(400, "A request must have one Host header.")
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or codings != [b"chunked"]):
        raise HeadRefusedError(501, "The only transfer coding is chunked, in HTTP/1.1.")
    return target if target.startswith(b"/") or target == b"*" else _take_host_from(target, headers)


def check_head_size(size: int, target: bytes) -> None:
    if size > MAX_HEAD_BYTES:
        status = 414 if len(target) > MAX_REQUEST_LINE_BYTES else 431
        raise HeadRefusedError(status, f"The head of a request may have at most {MAX_HEAD_BYTES} bytes.")


def _take_host_from(target: bytes, headers: Headers) -> bytes:
    """GET http://host/path is GET /path for that host (RFC 9112, 3.2.2)."""
    url = httptools.parse_url(target)
    if (url.schema or b"").lower() not in {b"http", b"https"}:
        raise HeadRefusedError(400, "The target must be a path or an http URL.")
    host = b"[%s]" % url.host if b":" in url.host else url.host
    host += b":%d" % url.port if url.port else b""
    headers[:] = [header for header in headers if header[0] != b"host"]
    headers.append((b"host", host))
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")


def without_upgrade(parser: httptools.HttpRequestParser, target: bytes, headers: Headers) -> bytes:
    """The bytes of the head without its Upgrade header."""
    line = b"%s %s HTTP/%s" % (parser.get_method(), target, parser.get_http_version().encode())
    others = [b"%s: %s" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([line, *others, b"", b""])
