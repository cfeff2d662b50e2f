"""Open loops: requests on a fixed schedule, whose times count from the moment at which each was due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from dev.bench.client import Connection
from dev.bench.stacks import Server

GIVE_UP_SECONDS = 10  # after the request was due


class Sample(NamedTuple):
    due: float  # by time.perf_counter()
    milliseconds: float  # since then, including the wait for a connection
    status: int  # 0: no answer
    cache: str  # X-Cache


class Schedule(NamedTuple):
    targets: Sequence[str]
    rate: float  # requests a second
    connections: int


async def run(server: Server, schedule: Schedule) -> list[Sample]:
    jobs: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()
    samples: list[Sample] = []
    callers = [asyncio.create_task(_call(server, jobs, samples)) for _ in range(schedule.connections)]
    start = time.perf_counter()
    for number, target in enumerate(schedule.targets):
        due = start + number / schedule.rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        jobs.put_nowait((due, target))
    for _ in callers:
        jobs.put_nowait(None)
    await asyncio.gather(*callers)
    return samples


async def _call(server: Server, jobs: asyncio.Queue[tuple[float, str] | None], samples: list[Sample]) -> None:
    connection = Connection(server.port)
    while job := await jobs.get():
        due, target = job
        status, cache = 0, ""
        try:
            async with asyncio.timeout(due + GIVE_UP_SECONDS - time.perf_counter()):
                answer = await connection.get(target)
            status, cache = answer.status, answer.headers.get("x-cache", "")
        except (OSError, EOFError):  # TimeoutError is an OSError
            connection.close()
        samples.append(Sample(due, (time.perf_counter() - due) * 1000, status, cache))
    connection.close()
