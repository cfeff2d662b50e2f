"""Reads request bodies as strict JSON: UTF-8, no NaN; repeated members are recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from farmlokal.http.problems import Problem

MEDIA_TYPE = "application/json"
MAX_ECHO_LENGTH = 100  # of a request header in an error
TOO_COMPLEX = "The body is nested too deeply, or a number in it has too many digits."


class JSONObject(dict[str, Any]):
    """A JSON object. repeated: the names that occur more than once."""

    def __init__(self, members: Sequence[tuple[str, Any]]) -> None:
        super().__init__(members)
        counts = Counter(name for name, _ in members)
        self.repeated = {name for name, count in counts.items() if count > 1}


def read_json(request: Request) -> Any:
    """The body's value, with objects as JSONObject. Raises unsupported-media-type or bad-request."""
    check_media_type(request)
    return parse_json(read_text(request))


def read_text(request: Request) -> str:
    """The body. Raises unsupported-media-type if it is compressed, and bad-request if it is not UTF-8."""
    check_coding(request)
    try:
        return request.body.decode()
    except UnicodeDecodeError as error:
        raise Problem("bad-request", "The body is not UTF-8.") from error


def check_media_type(request: Request) -> None:
    media_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedMediaType(media_type[:MAX_ECHO_LENGTH])


def check_coding(request: Request) -> None:
    coding = request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if coding != "identity":
        text = f'The content coding "{coding[:MAX_ECHO_LENGTH]}" is not supported; send the body uncompressed.'
        raise Problem("unsupported-media-type", text)


def parse_json(body: str) -> Any:
    """The body's value, with objects as JSONObject. Raises bad-request if it is not JSON or exceeds Python's limits."""
    try:
        return json.loads(body, object_pairs_hook=JSONObject, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Problem("bad-request", f"The body is not JSON: {error.msg}, {place}.") from error
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", TOO_COMPLEX) from error


def _reject_constant(constant: str) -> NoReturn:
    raise Problem("bad-request", f"The body is not JSON: it has no {constant}.")
