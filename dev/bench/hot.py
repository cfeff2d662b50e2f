"""The hot page, GET /products from Redis behind a limiter, of five servers in turns: by wrk, 32 kept connections.

All but stock DRF send the same bytes. TURNS, SECONDS and MODES (of logs: "off on") come from the environment.
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
from dev.bench.figures import ratios, spread, table, tell
from dev.bench.stacks import EXPRESS, FASTIFY, FOLDER, HELLO, OURS, STOCK, Answer, Server, running

ROWS = 20_000
TARGET = "/products"
TURNS = int(os.environ.get("TURNS") or 5)
SECONDS = int(os.environ.get("SECONDS") or 6)
MODES = os.environ.get("MODES", "off on").split()
PEERS = (FASTIFY, EXPRESS, STOCK, HELLO)
# What the servers' libraries add, and what differs from answer to answer.
OF_THE_CONNECTION = {"server", "date", "connection", "keep-alive", "content-length", "transfer-encoding"}
CHANGING = {"x-request-id", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"}


class Load(NamedTuple):
    rate: float
    p50: float  # milliseconds
    p99: float


def publish(page: Answer) -> str:
    """Gives the page to the peers: in Redis, as a cache would hold it, and what they are to know as a file."""
    redis = Redis.from_url(os.environ["REDIS_URL"])
    redis.set(f"page:{TARGET}", page.headers["etag"].encode() + b"\n" + page.body)
    headers = {name: value for name, value in page.headers.items() if name not in OF_THE_CONNECTION}
    constant = {name: value for name, value in headers.items() if name not in CHANGING}
    changing = {name: value for name, value in headers.items() if name in CHANGING}
    path = FOLDER / "page.json"
    path.write_text(json.dumps({"headers": constant, "changing": changing, "body": page.body.decode()}))
    return str(path)


def check(server: Server, page: Answer) -> None:
    """That a server does all that it is measured for."""
    answer = server.get(TARGET)
    assert answer.status == 200, (server, answer)
    if server.name == STOCK:
        theirs, ours = json.loads(answer.body), json.loads(page.body)
        assert [row["id"] for row in theirs["results"]] == [row["id"] for row in ours["results"]]
        assert theirs["results"][0].keys() == ours["results"][0].keys()
        return
    assert answer.body == page.body, server
    missing = page.headers.keys() - answer.headers.keys() - OF_THE_CONNECTION
    assert not missing, (server, missing)
    if server.name != HELLO:
        again = server.get(TARGET, **{"If-None-Match": page.headers["etag"]})
        assert again.status == 304, (server, again)
        assert server.get(TARGET, **{"X-Request-ID": "mine"}).headers["x-request-id"] == "mine", server


def load(server: Server, seconds: int) -> dict[str, int]:
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", "-s", "dev/bench/report.lua", server.url(TARGET)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    measured: dict[str, int] = json.loads(result.stdout.splitlines()[-1])
    return measured


def measure(server: Server, least_bytes: int) -> Load:
    load(server, 1)
    result = load(server, SECONDS)
    if result["errors"] or result["bytes"] < result["requests"] * least_bytes:
        raise SystemExit(f"{server.name} failed under load: {result}")
    return Load(result["requests"] / result["duration"] * 1e6, result["p50"] / 1000, result["p99"] / 1000)


def in_turns(servers: list[Server], least_bytes: int) -> dict[str, list[Load]]:
    found: dict[str, list[Load]] = defaultdict(list)
    for turn in range(TURNS):
        start = turn % len(servers)
        for server in servers[start:] + servers[:start]:
            found[server.name].append(measure(server, least_bytes))
        rates = ", ".join(f"{server.name} {found[server.name][-1].rate:,.0f}" for server in servers)
        tell(f"hot page, turn {turn + 1} of {TURNS}, requests a second: {rates}")
    return found


def printed(found: dict[str, list[Load]]) -> str:
    rates = {name: [load.rate for load in loads] for name, loads in found.items()}
    rows = [
        (
            name,
            spread(rates[name]),
            f"{statistics.median(load.p50 for load in loads):.2f}",
            f"{statistics.median(load.p99 for load in loads):.2f}",
            ratios(rates[OURS], rates[name]),
        )
        for name, loads in found.items()
    ]
    return table(("server", "requests a second", "p50 ms", "p99 ms", f"{OURS} to it"), rows)


def compare(database: str, logs: str) -> None:
    Redis.from_url(os.environ["REDIS_URL"]).flushdb()
    with ExitStack() as stack:
        ours = stack.enter_context(running(OURS, logs, DATABASE_URL=database))
        for _ in range(10):  # until each of its processes has what it needs
            page = ours.get(TARGET)
        assert page.headers.get("x-cache", "hit") == "hit", page.headers
        path = publish(page)
        servers = [ours]
        for name in PEERS:
            servers.append(stack.enter_context(running(name, logs, DATABASE_URL=database, PAGE=path)))
        for server in servers:
            check(server, page)
        size = len(servers[PEERS.index(STOCK) + 1].get(TARGET).body)
        found = in_turns(servers, min(size, len(page.body)))
    print(
        f"\nHot page, logs and metrics {logs}: {len(page.body):,} bytes, {stacks.WORKERS} processes each, wrk -t1 -c32"
    )
    print(f"for {SECONDS} s, {TURNS} turns (stock DRF: the same products in {size:,} bytes of its own)\n")
    print(printed(found), flush=True)


def main() -> None:
    database = seeded(ROWS)
    for logs in MODES:
        compare(database, logs)


if __name__ == "__main__":
    main()
