"""The key of a page: its absolute URL with a normalised query, and the release that rendered it.

A process never serves pages of another release, whose documents may differ. So a deployment need not clear Redis.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from django.conf import settings

from farmlokal.redis.scripts import spread_key

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("farmlokal", "accounts", "products", "integrations")


def page_key(scheme: str, host: str, path: str, query: str) -> str:
    """query: the normalised one. host: as the request spells it, since pages contain absolute links."""
    address = f"{release()} {scheme}://{host}{path}?{query}"
    return spread_key("page", hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:32])


@cache
def release() -> str:
    """Depends on our code, and on the key that seals the cursors in pages. Other packages do not count."""
    digest = hashlib.sha256(settings.SECRET_KEY.encode())
    files = (
        file for package in PACKAGES for suffix in (".py", ".lua") for file in (PROJECT / package).rglob(f"*{suffix}")
    )
    for file in sorted(files):
        if "tests" not in file.parts:
            digest.update(file.read_bytes())
    return digest.hexdigest()
