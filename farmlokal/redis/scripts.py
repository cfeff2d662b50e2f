"""Lua scripts for Redis, and the names of our keys.

The service does nearly everything in Redis by scripts, one command each. Exceptions are the locks of
single_flight.try_lock and the login limits, which django-redis stores.

A cluster refuses a script whose keys are on several nodes, so all keys of one call share a hash tag. The catalogue's
generation, tokens, the breaker and all that is read seldom are under HASH_TAG. Rate limits, pages, quotes and webhooks
are many: spread_key() deals them out over REDIS_HASH_TAGS tags. By default there is only HASH_TAG.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from django.conf import settings

from farmlokal.redis.hash_tags import dealt, hash_tags

HASH_TAG: str = settings.CACHES["default"]["KEY_PREFIX"]
HASH_TAGS = hash_tags(HASH_TAG, settings.REDIS_HASH_TAGS)
DEALT_TAGS = dealt(HASH_TAGS)
INCLUDE = re.compile(r"^-- include: (\S+)\n", re.MULTILINE)


def key(*parts: str) -> str:
    return ":".join((HASH_TAG, *parts))


def spread_key(*parts: str) -> str:
    """Like key(), but under the tag that the parts select. All processes must have the same number of tags."""
    name = ":".join(parts)
    return f"{DEALT_TAGS[crc32(name.encode()) % len(DEALT_TAGS)]}:{name}"


def tag_of(key: str) -> str:
    return key[: key.index("}") + 1]


class Script:
    """A Lua script. Redis runs it as one command, and knows it by its hash after the first call. name: for traces."""

    def __init__(self, text: str, name: str = "") -> None:
        self.text = text
        self.name = name
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """A script with its arguments. keys: of one hash tag."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Any] = ()


def load(module: str, name: str) -> Script:
    """Load the script in the file `name` beside a module (its __file__).

    A line `-- include: path` includes that file, relative to the file with the line; each file is included once.
    """
    return Script(_read(Path(module).with_name(name).resolve(), set()), Path(name).stem)


def _read(path: Path, included: set[Path]) -> str:
    included.add(path)

    def include(match: re.Match[str]) -> str:
        other = (path.parent / match[1]).resolve()
        return "" if other in included else _read(other, included)

    return INCLUDE.sub(include, path.read_text())


DELETE_KEY = load(__file__, "delete_key.lua")
WRITE_AND_DELETE = load(__file__, "write_and_delete.lua")
PROBE_KEY = key("probe")
PROBE_KEYS = [f"{tag}:probe" for tag in HASH_TAGS]  # the servers that have them are those that we need
