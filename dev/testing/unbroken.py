"""Load that counts lost requests: those without a complete response of success. Clients never retry."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dev.bench.client import Connection

TARGETS = ("/livez", "/products?limit=5", "/products?q=mango", "/products?price_min=10&limit=3")


class Request(NamedTuple):
    kind: str
    content: bytes


@dataclass
class Tally:
    answered: Counter[str] = field(default_factory=Counter)  # by kind
    lost: Counter[str] = field(default_factory=Counter)  # by kind and cause
    longest_seconds: float = 0

    def note(self, kind: str, status: int, cause: str, seconds: float) -> None:
        self.longest_seconds = max(self.longest_seconds, seconds)
        if 200 <= status < 300:
            self.answered[kind] += 1
        else:
            self.lost[f"{kind}: {cause}"] += 1

    def add(self, other: Tally) -> None:
        self.answered += other.answered
        self.lost += other.lost
        self.longest_seconds = max(self.longest_seconds, other.longest_seconds)


async def send_all(
    port: int, requests: Iterable[Request], *, callers: int, a_second: float, is_kept: bool = True
) -> Tally:
    """Sends each request once, on a fixed schedule as far as the responses allow. is_kept: over kept connections."""
    remaining, tally = iter(requests), Tally()
    begun = time.monotonic()

    async def call(number: int) -> None:
        connection = Connection(port)
        due = begun + number / a_second
        for request in remaining:
            await asyncio.sleep(due - time.monotonic())
            await _send(connection, request, tally)
            if not is_kept:
                connection.close()
            due = max(due + callers / a_second, time.monotonic())
        connection.close()

    await asyncio.gather(*(call(number) for number in range(callers)))
    return tally


async def _send(connection: Connection, request: Request, tally: Tally) -> None:
    sent_at, status = time.monotonic(), 0
    try:
        answer = await connection.send(request.content)
        status, cause = answer.status, f"{answer.status} {answer.body[:200].decode(errors='replace')}"
    except (OSError, EOFError) as error:
        cause = type(error).__name__
        connection.close()
    tally.note(request.kind, status, cause, time.monotonic() - sent_at)


def get(target: str) -> Request:
    return Request("GET", f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


def gets_until(is_over: asyncio.Event) -> Iterator[Request]:
    while not is_over.is_set():
        yield from map(get, TARGETS)
