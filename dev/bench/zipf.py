"""2,000 queries, asked for by Zipf's law (exponent 1), 500 a second whether answered or not, over 64 connections.

Counted by the servers themselves: SQL statements, and commands that Redis was sent.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from redis import Redis

from dev.bench.catalogue import connect, query, seeded
from dev.bench.client import Connection
from dev.bench.figures import percentile, table, tell
from dev.bench.queries import distinct
from dev.bench.stacks import OURS, Answer, Server, running

if TYPE_CHECKING:
    from collections.abc import Iterable

QUERIES = 2_000
RATE = 500
CONNECTIONS = 64
WARM_CONNECTIONS = 4
SECONDS = int(os.environ.get("ZIPF_SECONDS") or 30)
READS = "reads"
NO_ANSWER = Answer(0, {}, b"")


class Sample(NamedTuple):
    milliseconds: float  # from when it was due, waiting for a connection included
    status: int
    cache: str


async def ask(server: Server, jobs: Iterable[str], rate: float, connections: int) -> list[Sample]:
    """Asks for the jobs as they come due, at random moments; all at once where the rate is infinite."""
    rng = random.Random(2)
    due: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()
    samples: list[Sample] = []

    async def work() -> None:
        connection = Connection(server.port)
        while job := await due.get():
            try:
                answer = await connection.get(job[1])
            except (OSError, EOFError, TimeoutError):
                answer = NO_ANSWER
                connection.close()
            took = (time.perf_counter() - job[0]) * 1000
            samples.append(Sample(took, answer.status, answer.headers.get("x-cache", "")))
        connection.close()

    workers = [asyncio.create_task(work()) for _ in range(connections)]
    moment = time.perf_counter()
    for target in jobs:
        moment += rng.expovariate(rate) if rate < float("inf") else 0
        if (wait := moment - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        due.put_nowait((time.perf_counter(), target))
    for _ in workers:
        due.put_nowait(None)
    await asyncio.gather(*workers)
    return samples


def statements(connection: Any) -> Counter[str]:
    """Statements by kind since the server's start, the one that asks included."""
    rows = query(connection, "SHOW GLOBAL STATUS WHERE Variable_name = 'Questions' OR Variable_name LIKE 'Com\\_%'")
    return Counter({name: int(value) for name, value in rows})


def commands(redis: Any) -> Counter[str]:
    """Calls by name, those that scripts make included; and reads of sockets, of which each round trip is one."""
    info = redis.info("everything")
    names = {name: stat["calls"] for name, stat in info.items() if name.startswith("cmdstat_")}
    calls = Counter({name.removeprefix("cmdstat_"): count for name, count in names.items()})
    return calls + Counter({READS: info["total_reads_processed"]})


def per_thousand(counted: Counter[str], requests: int) -> str:
    kinds = [f"{name.removeprefix('Com_')} {count / requests * 1000:.1f}" for name, count in counted.most_common(6)]
    return ", ".join(kinds) or "none"


def report(samples: list[Sample], sql: Counter[str], redis: Counter[str]) -> str:
    count = len(samples)
    times = [sample.milliseconds for sample in samples]
    failed = Counter(sample.status for sample in samples if not 200 <= sample.status < 300)
    questions, reads = sql.pop("Questions", 0), redis.pop(READS, 0)
    cache = Counter(sample.cache or "not said" for sample in samples)
    rows = [
        ("requests", f"{count:,}, of which not 2xx (0: no answer): {dict(failed) or 'none'}"),
        ("p50, p95, p99, at most, ms", ", ".join(f"{percentile(times, p):.1f}" for p in (0.5, 0.95, 0.99, 1))),
        (
            "SQL statements in 1,000 requests, pings not among them",
            f"{questions / count * 1000:.1f} ({per_thousand(sql, count)})",
        ),
        ("round trips to Redis in 1,000 requests", f"{reads / count * 1000:.1f}"),
        ("Redis commands, those of scripts included", per_thousand(redis, count)),
        ("X-Cache", ", ".join(f"{name} {share / count:.1%}" for name, share in cache.most_common())),
    ]
    return table(("", f"{QUERIES:,} queries by Zipf's law, {RATE} a second"), rows)


def main(rows: int) -> None:
    database = seeded(rows)
    redis, connection = Redis.from_url(os.environ["REDIS_URL"]), connect(database)
    redis.flushdb()
    with running(OURS, DATABASE_URL=database) as server:
        targets = distinct(server, rows, QUERIES)
        warm = asyncio.run(ask(server, targets, float("inf"), WARM_CONNECTIONS))
        if failed := Counter(sample.status for sample in warm if sample.status != 200):
            raise SystemExit(f"Zipf: of {QUERIES:,} first requests, by status (0: no answer): {dict(failed)}")
        tell(f"Zipf: each of {QUERIES:,} queries asked once")
        weights = [1 / rank for rank in range(1, QUERIES + 1)]
        jobs = random.Random(3).choices(targets, weights, k=RATE * SECONDS)
        one = Counter({"Questions": 1, "Com_show_status": 1})  # what asks is counted too, at both ends
        before = statements(connection), commands(redis)
        samples = asyncio.run(ask(server, jobs, RATE, CONNECTIONS))
        sql = statements(connection) - before[0] - one
        sent = commands(redis) - before[1] - Counter({"info": 1, READS: 1})
    print(
        f"\nOn {rows:,} products, for {SECONDS} s, each query asked once before:\n\n{report(samples, sql, sent)}",
        flush=True,
    )
    if any(not 200 <= sample.status < 300 for sample in samples):
        raise SystemExit("Zipf: answers that are not 2xx")


if __name__ == "__main__":
    main(int(sys.argv[1]))
