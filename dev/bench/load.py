"""make load: realistic traffic by Locust on the whole service. Prints the rate and the times of each kind of request.

STEPS="25 50 100" first makes one short run for each number of users, to see how many the machine takes.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from redis import Redis

from dev.bench.counters import cpu_seconds, mariadb_pid
from dev.bench.figures import save, table
from dev.bench.turns import setting
from dev.load.runs import COLUMNS, Load, report, run, tell_end
from dev.load.service import Service, whole_service

USERS = setting("USERS", 50)
SECONDS = setting("SECONDS_OF_LOAD", 30)
STEPS = [int(users) for users in (os.environ.get("STEPS") or "").split()]
STEP_SECONDS = 20
WARM = Load(20, 10)
PROCESSES = ("Locust", "workers", "MariaDB", "Redis")
USER_COLUMNS = ("users", *COLUMNS[1:], *(f"CPU of {name}, %" for name in PROCESSES))


class Usage(NamedTuple):
    """Of CPU time, at a moment."""

    at: float
    seconds: list[float]  # of each of PROCESSES


class Meter:
    """Notes the usage now and then: a process that has ended has none."""

    def __init__(self, service: Service) -> None:
        with Redis.from_url(os.environ["REDIS_URL"]) as redis:
            self._pids = [service.server.pid, mariadb_pid(), redis.info("server")["process_id"]]
        self._noted: list[Usage] = []

    def note(self, locust: int) -> None:
        self._noted.append(Usage(time.monotonic(), [cpu_seconds(pid) for pid in (locust, *self._pids)]))

    def percents(self) -> list[str]:
        """Of one core, between the first note and the last."""
        first, last = self._noted[0], self._noted[-1]
        used = (after - before for before, after in zip(first.seconds, last.seconds, strict=True))
        return [f"{100 * seconds / (last.at - first.at):.0f}" for seconds in used]


def measure(service: Service, load: Load) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """The rows of COLUMNS, and one of USER_COLUMNS."""
    meter = Meter(service)
    kinds = report(run(service.url, load, service.secrets, meter.note))
    return kinds, (f"{load.users}", *kinds[-1][1:], *meter.percents())


def main(rows: int) -> None:
    with whole_service(rows) as service:
        run(service.url, WARM, service.secrets)
        steps = [measure(service, Load(users, STEP_SECONDS))[1] for users in STEPS]
        kinds, total = measure(service, Load(USERS, SECONDS))
    print(f"\n{USERS} users for {SECONDS} s on {rows:,} products\n\n{table(COLUMNS, kinds)}\n")
    print(table(USER_COLUMNS, [*steps, total]), flush=True)
    tell_end()
    save("load", f"make load ROWS={rows} USERS={USERS} SECONDS_OF_LOAD={SECONDS}", COLUMNS, kinds)
    if steps:
        save("load_users", f'make load ROWS={rows} STEPS="{" ".join(map(str, STEPS))}"', USER_COLUMNS, steps)
