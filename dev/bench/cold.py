"""Pages that nobody has asked for: ours and stock DRF's at the same places of the catalogue, in turns.

Each page is asked for once a turn, after Redis was emptied, over 16 connections.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import django
from redis import Redis

from dev.bench.catalogue import seeded
from dev.bench.client import Connection
from dev.bench.figures import percentile, ratios, spread, table, tell
from dev.bench.stacks import OURS, STOCK, Server, running

if TYPE_CHECKING:
    from collections.abc import Iterator

TURNS = int(os.environ.get("TURNS") or 5)
PAGES = 400
CONNECTIONS = 16
MOST_SECONDS = 15  # of a turn: what is slow shows fewer pages


class Pages(NamedTuple):
    rate: float
    times: list[float]  # milliseconds


def walked(server: Server, cursor: str, step: int) -> Iterator[tuple[str, str]]:
    """PAGES times a cursor of ours, each `step` products behind the one before, and the moment that it stands for."""
    for _ in range(PAGES):
        query = {"limit": step} | ({"cursor": cursor} if cursor else {})
        document = json.loads(server.get(f"/products?{urlencode(query)}").body)
        (cursor,) = parse_qs(urlsplit(document["next"]).query)["cursor"]
        yield f"/products?{urlencode({'cursor': cursor})}", document["results"][-1]["created_at"]


def theirs(moment: str) -> str:
    """The page behind this moment, as the next link of DRF's CursorPagination says it."""
    cursor = base64.b64encode(urlencode({"p": moment}).encode()).decode()
    return f"/products/uncached?{urlencode({'cursor': cursor})}"


def middle(rows: int) -> str:
    """A cursor of ours from the middle of the catalogue."""
    from products.listing.cursors import seal  # noqa: PLC0415  # once Django is set up
    from products.listing.pagination import Sort  # noqa: PLC0415
    from products.listing.queries import ProductPagination  # noqa: PLC0415
    from products.models import Product  # noqa: PLC0415

    pagination = ProductPagination()
    pagination.model, pagination.sort, pagination.filters = Product, Sort.parse("-created_at"), []
    listed = Product.objects.filter(is_active=True).order_by("-created_at", "-pk")
    row = listed.only("created_at")[rows // 2]
    return seal(pagination._behind(row), pagination._bound_to())


async def asked(server: Server, targets: list[str]) -> Pages:
    left, times = iter(targets), []
    start = time.perf_counter()

    async def ask() -> None:
        connection = Connection(server.port)
        for target in left:
            asked_at = time.perf_counter()
            answer = await connection.get(target)
            assert answer.status == 200, (server, target, answer)
            assert not answer.headers.get("x-cache", "").startswith("hit"), (server, target)
            times.append((time.perf_counter() - asked_at) * 1000)
            if time.perf_counter() - start > MOST_SECONDS:
                break
        connection.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    return Pages(len(times) / (time.perf_counter() - start), times)


def check(servers: list[Server], targets: dict[str, list[str]]) -> None:
    for number in (0, PAGES // 2, PAGES - 1):
        documents = [json.loads(server.get(targets[server.name][number]).body) for server in servers]
        first, second = ([row["id"] for row in document["results"]] for document in documents)
        assert first == second, "not the same products"


def in_turns(servers: list[Server], targets: dict[str, list[str]], place: str) -> dict[str, list[Pages]]:
    redis = Redis.from_url(os.environ["REDIS_URL"])
    found: dict[str, list[Pages]] = defaultdict(list)
    for turn in range(-1, TURNS):  # the first one warms
        for server in servers if turn % 2 else reversed(servers):
            redis.flushdb()
            found[server.name].append(asyncio.run(asked(server, targets[server.name])))
        rates = ", ".join(f"{name} {pages[-1].rate:,.0f}" for name, pages in found.items())
        tell(f"cold pages, {place}, turn {turn + 1} of {TURNS}, pages a second: {rates}")
    return {name: pages[1:] for name, pages in found.items()}


def lines(found: dict[str, list[Pages]], place: str) -> list[tuple[str, ...]]:
    rates = {name: [pages.rate for pages in turns] for name, turns in found.items()}
    return [
        (
            f"{name}, {place}",
            spread(rates[name]),
            f"{statistics.median(percentile(pages.times, 0.5) for pages in turns):.1f}",
            f"{statistics.median(percentile(pages.times, 0.99) for pages in turns):.1f}",
            ratios(rates[OURS], rates[name]),
        )
        for name, turns in found.items()
    ]


def main(rows: int) -> None:
    database = os.environ["DATABASE_URL"] = seeded(rows)
    django.setup()
    found: list[tuple[str, ...]] = []
    with running(OURS, DATABASE_URL=database) as ours, running(STOCK, DATABASE_URL=database) as stock:
        for place, start, step in (("newest 400", "", 1), ("newest 10,000", "", 25), ("middle", middle(rows), 25)):
            places = list(walked(ours, start, step))
            targets = {OURS: [target for target, _ in places], STOCK: [theirs(moment) for _, moment in places]}
            check([ours, stock], targets)
            found += lines(in_turns([ours, stock], targets, place), place)
    print(
        f"\nCold pages: {PAGES} of 25 out of {rows:,} products, each once, {CONNECTIONS} connections, {TURNS} turns\n"
    )
    print(table(("server", "pages a second", "p50 ms", "p99 ms", f"{OURS} to it"), found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
