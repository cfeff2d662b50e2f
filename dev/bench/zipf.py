"""make bench-zipf: 2,000 queries with Zipf popularity (exponent 1), 500 a second on a fixed schedule.

MySQL counts the SQL statements, and Redis its commands and round trips.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from redis import Redis

from dev.bench.catalogue import connect, query, seeded
from dev.bench.client import Connection
from dev.bench.figures import percentile, progress, save, table
from dev.bench.queries import distinct_targets
from dev.bench.stacks import OURS, Server, running
from dev.testing.servers import Answer

QUERIES = 2_000
RATE = 500
CONNECTIONS = 64
WARM_CONNECTIONS = 4
SECONDS = int(os.environ.get("ZIPF_SECONDS") or 30)
READS = "reads"
NO_ANSWER = Answer(0, {}, b"")
COLUMNS = ("", f"{QUERIES:,} queries with Zipf popularity, {RATE} a second")
PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("maximum", 1))


class Sample(NamedTuple):
    milliseconds: float  # since the request was due, including the wait for a connection
    status: int
    cache: str  # X-Cache


async def load(server: Server, targets: Iterable[str], rate: float, connections: int) -> list[Sample]:
    """Request the targets at random moments, `rate` a second on average; an infinite rate sends all at once."""
    rng = random.Random(2)
    jobs: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()
    samples: list[Sample] = []

    async def work() -> None:
        connection = Connection(server.port)
        while job := await jobs.get():
            due, target = job
            try:
                answer = await connection.get(target)
            except (OSError, EOFError):
                answer = NO_ANSWER
                connection.close()
            milliseconds = (time.perf_counter() - due) * 1000
            samples.append(Sample(milliseconds, answer.status, answer.headers.get("x-cache", "")))
        connection.close()

    workers = [asyncio.create_task(work()) for _ in range(connections)]
    due = time.perf_counter()
    for target in targets:
        due += rng.expovariate(rate) if rate < float("inf") else 0
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        jobs.put_nowait((time.perf_counter(), target))
    for _ in workers:
        jobs.put_nowait(None)
    await asyncio.gather(*workers)
    return samples


def count_statements(connection: Any) -> Counter[str]:
    """SQL statements by kind since the server's start, including this one."""
    rows = query(connection, "SHOW GLOBAL STATUS WHERE Variable_name = 'Questions' OR Variable_name LIKE 'Com\\_%'")
    return Counter({name: int(value) for name, value in rows})


def count_commands(redis: Any) -> Counter[str]:
    """Redis commands by name, including those inside scripts; and reads of sockets, one for each round trip."""
    info = redis.info("everything")
    calls = {name: stat["calls"] for name, stat in info.items() if name.startswith("cmdstat_")}
    commands = Counter({name.removeprefix("cmdstat_"): count for name, count in calls.items()})
    return commands + Counter({READS: info["total_reads_processed"]})


def per_thousand(counts: Counter[str], requests: int) -> str:
    kinds = [f"{name.removeprefix('Com_')} {count / requests * 1000:.1f}" for name, count in counts.most_common(6)]
    return ", ".join(kinds) or "none"


def report_rows(samples: list[Sample], sql: Counter[str], redis: Counter[str]) -> list[tuple[str, str]]:
    count = len(samples)
    times = [sample.milliseconds for sample in samples]
    failures = Counter(sample.status for sample in samples if not 200 <= sample.status < 300)
    questions, reads = sql.pop("Questions", 0), redis.pop(READS, 0)
    cache = Counter(sample.cache or "no header" for sample in samples)
    return [
        ("requests", f"{count:,}; not 2xx, by status (0: no response): {dict(failures) or 'none'}"),
        *((f"{name} ms", f"{percentile(times, share):.1f}") for name, share in PERCENTILES),
        (
            "SQL statements per 1,000 requests, without pings",
            f"{questions / count * 1000:.1f} ({per_thousand(sql, count)})",
        ),
        ("Redis round trips per 1,000 requests", f"{reads / count * 1000:.1f}"),
        ("Redis commands per 1,000 requests, with those inside scripts", per_thousand(redis, count)),
        ("X-Cache", ", ".join(f"{name} {share / count:.1%}" for name, share in cache.most_common())),
    ]


def main(rows: int) -> None:
    database = seeded(rows)
    redis, connection = Redis.from_url(os.environ["REDIS_URL"]), connect(database)
    redis.flushdb()
    with running(OURS, DATABASE_URL=database) as server:
        targets = distinct_targets(server, rows, QUERIES)
        warm = asyncio.run(load(server, targets, float("inf"), WARM_CONNECTIONS))
        if failures := Counter(sample.status for sample in warm if sample.status != 200):
            raise SystemExit(f"Zipf: first requests failed, by status (0: no response): {dict(failures)}")
        progress(f"Zipf: requested each of {QUERIES:,} queries once")
        weights = [1 / rank for rank in range(1, QUERIES + 1)]
        jobs = random.Random(3).choices(targets, weights, k=RATE * SECONDS)
        sql_before, commands_before = count_statements(connection), count_commands(redis)
        samples = asyncio.run(load(server, jobs, RATE, CONNECTIONS))
        # Each count includes itself once.
        sql = count_statements(connection) - sql_before - Counter({"Questions": 1, "Com_show_status": 1})
        commands = count_commands(redis) - commands_before - Counter({"info": 1, READS: 1})
    print(f"\nOn {rows:,} products, for {SECONDS} s, after each query was requested once:\n")
    report = report_rows(samples, sql, commands)
    print(table(COLUMNS, report), flush=True)
    save("zipf", f"make bench-zipf ROWS={rows} ZIPF_SECONDS={SECONDS}", COLUMNS, report)
    if any(not 200 <= sample.status < 300 for sample in samples):
        raise SystemExit("Zipf: some responses were not 2xx")
