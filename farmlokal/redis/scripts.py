"""Lua scripts for Redis, and the names of our keys.

The service does nearly everything in Redis by scripts, one command each. Exceptions are the locks of
single_flight.try_lock and the login limits, which django-redis stores. All keys share a hash tag (the part of a key
that selects the node of a cluster), so a script may touch several keys, and a client needs only one node.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from django.conf import settings

HASH_TAG: str = settings.CACHES["default"]["KEY_PREFIX"]
INCLUDE = re.compile(r"^-- include: (\S+)\n", re.MULTILINE)


def key(*parts: str) -> str:
    return ":".join((HASH_TAG, *parts))


class Script:
    """A Lua script. Redis runs it as one command, and knows it by its hash after the first call. name: for traces."""

    def __init__(self, text: str, name: str = "") -> None:
        self.text = text
        self.name = name
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


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
