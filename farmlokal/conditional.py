"""Entity tags, and the conditions that requests put on them (RFC 9110, 8.8.3 and 13.1)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from farmlokal.errors import InvalidHeader, Problem

if TYPE_CHECKING:
    from collections.abc import Collection

TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
TAGS = re.compile(rf"[ \t,]*{TAG}(?:[ \t]*,[ \t,]*{TAG})*[ \t,]*")
ANY = "*"


def etag_of(body: bytes) -> str:
    """A strong entity tag: equal bytes, equal tag."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tags_in(header: str) -> list[str]:
    """The entity tags of an If-Match or If-None-Match as they stand there, or ["*"]; ValueError for anything else."""
    if header.strip(" \t") == ANY:
        return [ANY]
    if not TAGS.fullmatch(header):
        raise ValueError("neither * nor a list of entity tags")
    return re.findall(TAG, header)


def is_strong_match(tags: Collection[str], etag: str) -> bool:
    """For a resource that exists and has this strong etag; a weak tag never matches."""
    return ANY in tags or etag in tags


def is_weak_match(tags: Collection[str], etag: str) -> bool:
    return ANY in tags or etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether a 304 answers a read. A header that cannot be read matches nothing: the reader gets the whole."""
    if if_none_match is None:
        return False
    try:
        return is_weak_match(tags_in(if_none_match), etag)
    except ValueError:
        return False


def check_if_match(if_match: str, etag: str) -> None:
    """For a write: raises the Problem precondition-failed where the resource is not the one that was meant."""
    try:
        tags = tags_in(if_match)
    except ValueError as error:
        raise InvalidHeader("If-Match", "must be * or a list of entity tags.") from error
    if not is_strong_match(tags, etag):
        raise Problem("precondition-failed", "If-Match: it is not, or no longer, the one with this entity tag.")
