"""The kinds of requests in the load, and what one request got."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

LOST = "lost"  # no answer
NO_DATABASE = "503 database-unavailable"
LIMITED = "429 rate-limited"
OUTDATED = "200 outdated"  # a page from before the caller's own write


class Kind(StrEnum):
    HOT = "hot page"
    NEW = "new page"
    BEARER = "bearer read"
    LIMITED = "limited read"  # of a client over its limit
    WRITE = "write"  # with Idempotency-Key; the same key until it succeeds
    WEBHOOK = "webhook"  # the same event until it is accepted
    CHANGED = "changed page"  # of a product that webhooks change
    QUOTE = "new quote"
    LAST_QUOTE = "known quote"
    LIVEZ = "livez"


READ = frozenset({"200", "200 hit", "200 miss", "200 stale", "200 bypass"})
NORMAL: Mapping[Kind, frozenset[str]] = {
    **dict.fromkeys(Kind, READ),
    Kind.LIMITED: READ | {LIMITED},
    Kind.WRITE: frozenset({"201", "201 replayed"}),
    Kind.WEBHOOK: frozenset({"200 processed", "200 duplicate"}),
}


class Sample(NamedTuple):
    kind: Kind
    caller: int
    due: float  # by time.monotonic, which all processes share
    seconds: float  # from then until the answer
    answer: str  # the status, with the problem's code, X-Cache or the document's status; or LOST
    port: int  # of the caller's end of the connection
    name: str = ""  # of the written product, or the event
    has_retry_after: bool = False

    @property
    def ended(self) -> float:
        return self.due + self.seconds

    @property
    def is_normal(self) -> bool:
        return self.answer in NORMAL[self.kind]
