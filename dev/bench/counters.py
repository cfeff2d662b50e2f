"""What a load costs, by the counters of MySQL and Redis, and by the CPU time of processes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import Redis

from dev.bench.stacks import FOLDER
from dev.testing.mysql import query

READS = "reads"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def statements(connection: Any) -> Counter[str]:
    """SQL statements by kind since the server's start, without the ones that count them."""
    rows = query(connection, "SHOW GLOBAL STATUS WHERE Variable_name = 'Questions' OR Variable_name LIKE 'Com\\_%'")
    counts = Counter({name: int(value) for name, value in rows})
    return counts - Counter({"Questions": counts["Com_show_status"]} | {"Com_show_status": counts["Com_show_status"]})


def commands(redis: Redis) -> Counter[str]:
    """Redis commands by name, including those inside scripts; and reads of sockets, one for each round trip."""
    info: Any = redis.info("everything")
    calls = {name: stat["calls"] for name, stat in info.items() if name.startswith("cmdstat_")}
    counts = Counter({name.removeprefix("cmdstat_"): count for name, count in calls.items()})
    return counts + Counter({READS: info["total_reads_processed"] - counts.pop("info", 0)})


def mariadb_pid() -> int:
    """The private server of dev/services.sh."""
    return int((FOLDER / "mariadb/mysql.pid").read_text())


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants that are alive."""
    return sum(_own_seconds(each) for each in _tree(pid))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _own_seconds(pid: int) -> float:
    """Fields 14 and 15 of proc_pid_stat(5); the second one, the name, may contain spaces."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
