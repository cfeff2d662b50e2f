"""make bench-costs: CPU time, statements, round trips and bytes of each kind of request, for `make capacity`.

CPU time adds up over kinds, and hardly depends on how busy the machine is. Rates do both less well.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import requests
from redis import Redis

from dev.bench import counters
from dev.bench.client import HOST, Connection
from dev.bench.figures import progress, save, table
from dev.bench.turns import TURNS
from dev.load.catalogue import Catalogue
from dev.load.service import Service, whole_service
from dev.testing.mysql import connect
from dev.testing.servers import Answer
from integrations.sandbox.sender import PRICE, STOCK, changes, signature_headers

CONNECTIONS = 16
PRODUCTS, PAGES = 400, 300
REPEATS = 20  # of cheap requests, in each turn
COLUMNS = (
    *("request", "workers' CPU ms", "MariaDB's CPU ms", "Redis's CPU ms"),
    *("SQL statements", "Redis round trips", "bytes kept in Redis", "bytes of the answer"),
)


class Part(NamedTuple):
    """Requests of one kind. is_cold: Redis is emptied before them."""

    kind: str
    requests: Sequence[bytes]
    is_cold: bool = False


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {HOST}", "Accept-Encoding: gzip"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def parts(service: Service, catalogue: Catalogue, bearer: str) -> Iterator[Part]:
    """One turn."""
    ids = range(1, PRODUCTS + 1)
    pages = [request("GET", target) for target in catalogue.listings[:PAGES]]
    products = [request("GET", f"/products/{pk}") for pk in ids]
    pincode = random.randint(110_000, 850_000)
    quotes = [request("GET", f"/products/{pk}/delivery-quote?pincode={pincode}") for pk in ids]
    events = [
        request("POST", "/webhooks/partner", one.body, **signature_headers(one, service.webhook_secret))
        for one in changes(ids, PRODUCTS, [PRICE, STOCK])
    ]
    stocks = [json.dumps({"stock": random.randint(0, 10**6)}).encode() for _ in ids]
    new = [json.dumps(catalogue.new_product()).encode() for _ in ids]
    yield Part("cold page", pages, is_cold=True)
    yield Part("hot page", pages * REPEATS)
    yield Part("cold product", products, is_cold=True)
    yield Part("hot product", products * REPEATS)
    yield Part("new quote", quotes)
    yield Part("known quote", quotes * REPEATS)
    yield Part("first delivery", events)
    yield Part("duplicate", events * REPEATS)
    yield Part("PATCH", [request("PATCH", f"/products/{pk}", stocks[pk - 1], Authorization=bearer) for pk in ids])
    keys = (uuid.uuid4().hex for _ in ids)
    yield Part(
        "POST",
        [
            request("POST", "/products", body, Authorization=bearer, Idempotency_Key=key)
            for body, key in zip(new, keys, strict=True)
        ],
    )


class Meter:
    """Sums of all servers' work so far: in the order of COLUMNS, without the bytes."""

    def __init__(self, service: Service, redis: Redis) -> None:
        self._pids = (service.server.pid, counters.mariadb_pid())
        self._redis, self._mysql = redis, connect(os.environ["DATABASE_URL"])

    def read(self) -> list[float]:
        cpu: Any = self._redis.info("cpu")
        redis_cpu = cpu["used_cpu_user"] + cpu["used_cpu_sys"]
        milliseconds = [seconds * 1000 for seconds in (*map(counters.cpu_seconds, self._pids), redis_cpu)]
        statements = counters.statements(self._mysql)["Questions"]
        trips, memory = counters.commands(self._redis)[counters.READS], self._redis.info("memory")["used_memory"]
        return [*milliseconds, statements, trips, memory]


async def send_all(port: int, contents: Sequence[bytes]) -> int:
    """Return the bytes of all answers."""
    remaining, received = iter(contents), 0

    async def call() -> None:
        nonlocal received
        connection = Connection(port)
        for content in remaining:
            answer = await connection.send(content)
            assert answer.status in {200, 201}, (content, answer)
            received += _size(answer)
        connection.close()

    await asyncio.gather(*(call() for _ in range(CONNECTIONS)))
    return received


def _size(answer: Answer) -> int:
    return len(answer.body) + sum(len(name) + len(value) + 4 for name, value in answer.headers.items())


def main(rows: int) -> None:
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(COLUMNS))  # the number of requests first
    with whole_service(rows) as service, Redis.from_url(os.environ["REDIS_URL"]) as redis:
        catalogue, meter = Catalogue(), Meter(service, redis)
        catalogue.read(service.url)
        secrets, form = service.secrets, {"grant_type": "client_credentials"}
        credentials = (secrets["LOAD_CLIENT_ID"], secrets["LOAD_CLIENT_SECRET"])
        token = requests.post(secrets["LOAD_TOKEN_URL"], form, auth=credentials, timeout=60).json()["access_token"]
        for turn in range(TURNS + 1):  # the first one warms up
            for part in parts(service, catalogue, f"Bearer {token}"):
                if part.is_cold:
                    redis.flushdb()
                before = meter.read()
                received = asyncio.run(send_all(service.server.port, part.requests))
                used = [after - start for after, start in zip(meter.read(), before, strict=True)]
                if turn:
                    values = [len(part.requests), *used, received]
                    sums[part.kind] = [total + value for total, value in zip(sums[part.kind], values, strict=True)]
            progress(f"costs, turn {turn} of {TURNS}")
    report = [(kind, *_cells([total / number for total in totals])) for kind, (number, *totals) in sums.items()]
    print(table(COLUMNS, report), flush=True)
    save("costs", f"make bench-costs ROWS={rows} TURNS={TURNS}", COLUMNS, report)


def _cells(means: Sequence[float]) -> Iterator[str]:
    *milliseconds, statements, trips, kept, size = means
    yield from (f"{value:.3f}" for value in milliseconds)
    yield from (f"{value:.2f}" for value in (statements, trips))
    yield from (f"{max(value, 0):.0f}" for value in (kept, size))
