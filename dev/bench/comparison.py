"""make bench: all comparisons with other servers, on one catalogue."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from dev.bench import cold, hot, mixed, outage, restart, zipf
from dev.bench.figures import progress


def versions() -> str:
    commands = (["node", "--version"], ["redis-server", "--version"], ["mariadbd", "--version"])
    node, redis, mariadb = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for command in commands
    )
    return f"{os.cpu_count()} cores; Python {sys.version.split()[0]}; Node {node}; {redis}; {mariadb}"


def main(rows: int) -> None:
    print(versions(), flush=True)
    for comparison in (hot, zipf, restart, mixed, outage, cold):
        started_at = time.monotonic()
        comparison.main(rows)
        progress(f"{comparison.__name__}: {time.monotonic() - started_at:.0f} s")
