"""Entity tags and conditional requests (RFC 9110, sections 8.8.3 and 13).

If-Match is evaluated before If-None-Match (13.2.2), and both after every other check of the request (13.2.1).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping

from farmlokal.http.problems import InvalidHeader, Problem

TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
TAGS = re.compile(rf"[ \t,]*{TAG}(?:[ \t]*,[ \t,]*{TAG})*[ \t,]*")
ANY = "*"


def etag_of(body: bytes) -> str:
    """A strong entity tag: equal bytes have equal tags."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tags_in(header: str) -> list[str]:
    """The entity tags of an If-Match or If-None-Match header, or ["*"]. Raises ValueError if it is malformed."""
    if header.strip(" \t") == ANY:
        return [ANY]
    if not TAGS.fullmatch(header):
        raise ValueError("neither * nor a list of entity tags")
    return re.findall(TAG, header)


def is_strong_match(tags: Collection[str], etag: str) -> bool:
    """Weak tags never match, neither in the header nor of the resource. The resource must exist."""
    return ANY in tags or (etag in tags and not etag.startswith("W/"))


def is_weak_match(tags: Collection[str], etag: str) -> bool:
    return ANY in tags or etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether to answer a read with a 304. A malformed header matches nothing."""
    if if_none_match is None:
        return False
    try:
        return is_weak_match(tags_in(if_none_match), etag)
    except ValueError:
        return False


def condition_in(headers: Mapping[str, str], name: str) -> list[str] | None:
    """The entity tags of this header, None if it is absent. Raises InvalidHeader if it is malformed."""
    if name not in headers:
        return None
    try:
        return tags_in(headers[name])
    except ValueError as error:
        raise InvalidHeader(name, "must be * or a list of entity tags.") from error


def check_if_match(tags: list[str] | None, etag: str) -> None:
    """Raises precondition-failed unless the resource has one of the tags."""
    if tags and not is_strong_match(tags, etag):
        raise Problem("precondition-failed", "If-Match: the resource has none of these entity tags.")


def check_if_none_match(tags: list[str] | None, etag: str) -> None:
    """For writes: raises precondition-failed if the resource has one of the tags."""
    if tags and is_weak_match(tags, etag):
        raise Problem("precondition-failed", "If-None-Match: the resource exists and has one of these entity tags.")
