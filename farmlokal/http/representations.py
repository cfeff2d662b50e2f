"""Responses to reads: a JSON body with its entity tag, plain, compressed, or omitted (304)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from isal import igzip

from farmlokal.http.conditional import check_if_match, condition_in, etag_of, is_not_modified

CONTENT_TYPE = "application/json"
MAX_CACHED_LENGTH = 200  # of a header in memory
WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


class Representation(NamedTuple):
    etag: str  # the strong one, of the uncompressed body
    identity: bytes  # the uncompressed body
    gzipped: bytes | None  # None: never compressed
    link: str = ""

    @classmethod
    def of(cls, body: bytes, link: str = "", *, gzips: bool = True) -> Representation:
        body = bytes(memoryview(body))  # a copy: orjson's result keeps a buffer of up to ten times its length
        return cls(etag_of(body), body, igzip.compress(body, mtime=0) if gzips else None, link)

    def body_for(self, accept_encoding: str) -> bytes:
        accepts = _accepts_gzip_cached if len(accept_encoding) <= MAX_CACHED_LENGTH else accepts_gzip
        return self.gzipped if self.gzipped is not None and accepts(accept_encoding) else self.identity

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers of a response with this body, or of its 304."""
        headers = {"ETag": f"W/{self.etag}" if body is self.gzipped else self.etag}
        if self.gzipped is not None:
            headers["Vary"] = "Accept-Encoding"
        if self.link:
            headers["Link"] = self.link
        return headers


def accepts_gzip(header: str) -> bool:
    """Whether Accept-Encoding (RFC 9110, 12.5.3) gives gzip, or else *, a weight above 0."""
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        weight = WEIGHT.fullmatch(parameters[0]) if parameters else None
        weights[coding] = float(weight[1]) if weight else 1.0 if not parameters else 0.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


_accepts_gzip_cached = lru_cache(maxsize=1024)(accepts_gzip)


def respond(request: HttpRequest, representation: Representation, headers: Mapping[str, str]) -> HttpResponse:
    """A 200, or a 304 if the client has this representation. Raises precondition-failed if If-Match does not match."""
    body = representation.body_for(request.headers.get("Accept-Encoding", ""))
    headers = {**headers, **representation.headers(body)}
    check_if_match(condition_in(request.headers, "If-Match"), headers["ETag"])
    if is_not_modified(request.headers.get("If-None-Match"), representation.etag):
        response = HttpResponse(status=304, headers=headers)
        del response["Content-Type"]
        return response
    response = HttpResponse(body, content_type=CONTENT_TYPE, headers=headers)
    if body is representation.gzipped:
        response["Content-Encoding"] = "gzip"
    return response
