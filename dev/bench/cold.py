"""make bench-cold: pages that are in no cache, of ours and of stock DRF, at the same places of the catalogue.

In each turn Redis is emptied, then each page is requested once.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from django.db import connection
from redis import Redis

from dev.bench.catalogue import seeded
from dev.bench.client import Connection
from dev.bench.figures import percentile, progress, ratios, save, spread, table
from dev.bench.stacks import OURS, STOCK, Server, running
from products.listing.cursors import Cursor
from products.listing.listings import Listing
from products.models import Product

TURNS = int(os.environ.get("TURNS") or 5)
PAGES = 400
CONNECTIONS = 16
MAX_TURN_SECONDS = 15  # a slow server serves fewer pages
COLUMNS = ("server, pages", "pages a second", "p50 ms", "p99 ms", f"{OURS} / server")


class Load(NamedTuple):
    rate: float  # pages a second
    times: list[float]  # milliseconds


def walk(server: Server, cursor: str, step: int) -> Iterator[tuple[str, str]]:
    """Yield PAGES times a target of ours, `step` products further each time, and the created_at before it."""
    for _ in range(PAGES):
        query = {"limit": step} | ({"cursor": cursor} if cursor else {})
        document = json.loads(server.get(f"/products?{urlencode(query)}").body)
        (cursor,) = parse_qs(urlsplit(document["next"]).query)["cursor"]
        yield f"/products?{urlencode({'cursor': cursor})}", document["results"][-1]["created_at"]


def stock_target(created_at: str) -> str:
    """The page after this moment, in the format of DRF's CursorPagination."""
    cursor = base64.b64encode(urlencode({"p": created_at}).encode()).decode()
    return f"/products/uncached?{urlencode({'cursor': cursor})}"


def middle_cursor(rows: int) -> str:
    """A cursor of ours in the middle of the catalogue."""
    listed = Product.objects.filter(is_active=True).order_by("-created_at", "-pk")
    row = listed.only("created_at")[rows // 2]
    return dict(Listing(cursor=Cursor(False, str(row.created_at), row.pk)).parameters())["cursor"]


async def load(server: Server, targets: list[str]) -> Load:
    remaining, times = iter(targets), []
    start = time.perf_counter()

    async def call() -> None:
        connection = Connection(server.port)
        for target in remaining:
            sent_at = time.perf_counter()
            answer = await connection.get(target)
            assert answer.status == 200, (server, target, answer)
            assert not answer.headers.get("x-cache", "").startswith("hit"), (server, target)
            times.append((time.perf_counter() - sent_at) * 1000)
            if time.perf_counter() - start > MAX_TURN_SECONDS:
                break
        connection.close()

    await asyncio.gather(*(call() for _ in range(CONNECTIONS)))
    return Load(len(times) / (time.perf_counter() - start), times)


def check(servers: list[Server], targets: dict[str, list[str]]) -> None:
    """Assert that all servers show the same products on the same pages."""
    for number in (0, PAGES // 2, PAGES - 1):
        documents = [json.loads(server.get(targets[server.name][number]).body) for server in servers]
        first, second = ([row["id"] for row in document["results"]] for document in documents)
        assert first == second, "not the same products"


def measure(servers: list[Server], targets: dict[str, list[str]], place: str) -> dict[str, list[Load]]:
    redis = Redis.from_url(os.environ["REDIS_URL"])
    loads: dict[str, list[Load]] = defaultdict(list)
    for turn in range(-1, TURNS):  # the first one warms up
        for server in servers if turn % 2 else reversed(servers):
            redis.flushdb()
            loads[server.name].append(asyncio.run(load(server, targets[server.name])))
        rates = ", ".join(f"{name} {turns[-1].rate:,.0f}" for name, turns in loads.items())
        progress(f"cold pages, {place}, turn {turn + 1} of {TURNS}, pages a second: {rates}")
    return {name: turns[1:] for name, turns in loads.items()}


def report_rows(loads: dict[str, list[Load]], place: str) -> list[tuple[str, ...]]:
    rates = {name: [load.rate for load in turns] for name, turns in loads.items()}
    return [
        (
            f"{name}, {place}",
            spread(rates[name]),
            f"{statistics.median(percentile(load.times, 0.5) for load in turns):.1f}",
            f"{statistics.median(percentile(load.times, 0.99) for load in turns):.1f}",
            ratios(rates[OURS], rates[name]),
        )
        for name, turns in loads.items()
    ]


def main(rows: int) -> None:
    database = seeded(rows)
    connection.settings_dict["NAME"] = urlsplit(database).path[1:]
    report: list[tuple[str, ...]] = []
    with running(OURS, DATABASE_URL=database) as ours, running(STOCK, DATABASE_URL=database) as stock:
        places = (("newest 400", "", 1), ("newest 10,000", "", 25), ("middle", middle_cursor(rows), 25))
        for place, cursor, step in places:
            pages = list(walk(ours, cursor, step))
            targets = {OURS: [target for target, _ in pages], STOCK: [stock_target(moment) for _, moment in pages]}
            check([ours, stock], targets)
            report += report_rows(measure([ours, stock], targets, place), place)
    print(
        f"\nCold pages: {PAGES} of 25 out of {rows:,} products, each once, {CONNECTIONS} connections, {TURNS} turns\n"
    )
    print(table(COLUMNS, report), flush=True)
    save("cold", f"make bench-cold ROWS={rows} TURNS={TURNS}", COLUMNS, report)
