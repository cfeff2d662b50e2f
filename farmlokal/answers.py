"""Answers to reads: bytes of JSON with an entity tag, whole, compressed, or not at all (304)."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

from django.http import HttpResponse

from farmlokal.conditional import is_not_modified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

GZIP_LEVEL = 5
WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def accepts_gzip(header: str) -> bool:
    """By an Accept-Encoding (RFC 9110, 12.5.3): named with a weight above 0, or meant by *."""
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        coding, *parameters = (part.strip() for part in item.split(";"))
        weight = WEIGHT.fullmatch(parameters[0]) if parameters else None
        weights[coding] = float(weight[1]) if weight else 1.0 if not parameters else 0.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def whole(
    request: HttpRequest, body: bytes, etag: str, headers: Mapping[str, str], *, gzips: bool = True
) -> HttpResponse:
    """A 200 with the body, compressed where the client asks for it and gzips allows it."""
    response = HttpResponse(body, content_type="application/json", headers=_headers(request, etag, headers, gzips))
    if response["ETag"].startswith("W/"):
        response.content = gzip.compress(body, GZIP_LEVEL, mtime=0)
        response["Content-Encoding"] = "gzip"
    return response


def not_modified(
    request: HttpRequest, etag: str, headers: Mapping[str, str], *, gzips: bool = True
) -> HttpResponse | None:
    """A 304 where the client has the answer with this tag already."""
    if not is_not_modified(request.headers.get("If-None-Match"), etag):
        return None
    response = HttpResponse(status=304, headers=_headers(request, etag, headers, gzips))
    del response["Content-Type"]
    return response


def _headers(request: HttpRequest, etag: str, headers: Mapping[str, str], gzips: bool) -> dict[str, str]:
    if not gzips:
        return {**headers, "ETag": etag}
    is_compressed = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    return {**headers, "Vary": "Accept-Encoding", "ETag": f"W/{etag}" if is_compressed else etag}
