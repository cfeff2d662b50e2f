"""make bench-hot: GET /products from Redis behind a rate limiter, of five servers in turns, under wrk.

All servers but stock DRF send the same bytes. TURNS, SECONDS and MODES ("off on", for logs) come from the environment.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections import defaultdict
from contextlib import ExitStack
from typing import NamedTuple

from redis import Redis

from dev.bench import stacks
from dev.bench.catalogue import seeded
from dev.bench.figures import progress, ratios, save, spread, table
from dev.bench.stacks import EXPRESS, FASTIFY, FOLDER, HELLO, OURS, STOCK, Server, running
from dev.testing.servers import Answer

ROWS = 20_000
TARGET = "/products"
TURNS = int(os.environ.get("TURNS") or 5)
SECONDS = int(os.environ.get("SECONDS") or 6)
MODES = os.environ.get("MODES", "off on").split()
PEERS = (FASTIFY, EXPRESS, STOCK, HELLO)
COLUMNS = ("server", "logs and metrics", "requests a second", "p50 ms", "p99 ms", f"{OURS} / server")
# Headers that the servers' libraries add, and headers that differ from response to response.
LIBRARY_HEADERS = {"server", "date", "connection", "keep-alive", "content-length", "transfer-encoding"}
CHANGING_HEADERS = {"x-request-id", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"}


class Load(NamedTuple):
    rate: float
    p50: float  # milliseconds
    p99: float


def publish(page: Answer) -> str:
    """Give the page to the peers: the cache entry in Redis, and a file with its body and headers. Returns its path."""
    redis = Redis.from_url(os.environ["REDIS_URL"])
    redis.set(f"page:{TARGET}", page.headers["etag"].encode() + b"\n" + page.body)
    headers = {name: value for name, value in page.headers.items() if name not in LIBRARY_HEADERS}
    constant = {name: value for name, value in headers.items() if name not in CHANGING_HEADERS}
    changing = {name: value for name, value in headers.items() if name in CHANGING_HEADERS}
    path = FOLDER / "page.json"
    path.write_text(json.dumps({"headers": constant, "changing": changing, "body": page.body.decode()}))
    return str(path)


def check(server: Server, page: Answer) -> None:
    """Assert that the server does all the work that is compared."""
    answer = server.get(TARGET)
    assert answer.status == 200, (server, answer)
    if server.name == STOCK:
        theirs, ours = json.loads(answer.body), json.loads(page.body)
        assert [row["id"] for row in theirs["results"]] == [row["id"] for row in ours["results"]]
        assert theirs["results"][0].keys() == ours["results"][0].keys()
        return
    assert answer.body == page.body, server
    missing = page.headers.keys() - answer.headers.keys() - LIBRARY_HEADERS
    assert not missing, (server, missing)
    if server.name != HELLO:
        not_modified = server.get(TARGET, **{"If-None-Match": page.headers["etag"]})
        assert not_modified.status == 304, (server, not_modified)
        assert server.get(TARGET, **{"X-Request-ID": "mine"}).headers["x-request-id"] == "mine", server


def run_wrk(server: Server, seconds: int) -> dict[str, int]:
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-s", "dev/bench/report.lua", server.url(TARGET)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    figures: dict[str, int] = json.loads(result.stdout.splitlines()[-1])
    return figures


def measure(server: Server, min_bytes: int) -> Load:
    run_wrk(server, 1)  # warms up
    result = run_wrk(server, SECONDS)
    if result["errors"] or result["bytes"] < result["requests"] * min_bytes:
        raise SystemExit(f"{server.name} failed under load: {result}")
    return Load(result["requests"] / result["duration"] * 1e6, result["p50"] / 1000, result["p99"] / 1000)


def measure_in_turns(servers: list[Server], min_bytes: int) -> dict[str, list[Load]]:
    loads: dict[str, list[Load]] = defaultdict(list)
    for turn in range(TURNS):
        start = turn % len(servers)
        for server in servers[start:] + servers[:start]:
            loads[server.name].append(measure(server, min_bytes))
        rates = ", ".join(f"{server.name} {loads[server.name][-1].rate:,.0f}" for server in servers)
        progress(f"hot page, turn {turn + 1} of {TURNS}, requests a second: {rates}")
    return loads


def report_rows(loads: dict[str, list[Load]], logs: str) -> list[tuple[str, ...]]:
    rates = {name: [load.rate for load in turns] for name, turns in loads.items()}
    return [
        (
            name,
            logs,
            spread(rates[name]),
            f"{statistics.median(load.p50 for load in turns):.2f}",
            f"{statistics.median(load.p99 for load in turns):.2f}",
            ratios(rates[OURS], rates[name]),
        )
        for name, turns in loads.items()
    ]


def compare(database: str, logs: str) -> list[tuple[str, ...]]:
    """Print the table of one mode, and return its rows."""
    Redis.from_url(os.environ["REDIS_URL"]).flushdb()
    with ExitStack() as stack:
        ours = stack.enter_context(running(OURS, logs, DATABASE_URL=database))
        for _ in range(10):  # until each worker has loaded what it needs
            page = ours.get(TARGET)
        assert page.headers.get("x-cache", "hit") == "hit", page.headers
        path = publish(page)
        servers = [ours]
        for name in PEERS:
            servers.append(stack.enter_context(running(name, logs, DATABASE_URL=database, PAGE=path)))
        for server in servers:
            check(server, page)
        stock_bytes = len(servers[PEERS.index(STOCK) + 1].get(TARGET).body)
        loads = measure_in_turns(servers, min(stock_bytes, len(page.body)))
    print(f"\nHot page, logs and metrics {logs}: {len(page.body):,} bytes, {stacks.WORKERS} processes each,")
    print(f"wrk -t1 -c32 for {SECONDS} s, {TURNS} turns (stock DRF: the same products in {stock_bytes:,} bytes)\n")
    rows = report_rows(loads, logs)
    print(table(COLUMNS, rows), flush=True)
    return rows


def main() -> None:
    database = seeded(ROWS)
    rows = [row for logs in MODES for row in compare(database, logs)]
    save("hot", f"make bench-hot TURNS={TURNS} SECONDS={SECONDS}", COLUMNS, rows)
