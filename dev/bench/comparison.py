"""make bench: the hot page beside its peers, cold pages, and a Zipf mixture of queries."""

from __future__ import annotations

import os
import subprocess
import sys

from dev.bench import cold, hot, zipf


def versions() -> str:
    commands = (["node", "--version"], ["redis-server", "--version"], ["mariadbd", "--version"])
    node, redis, mariadb = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for command in commands
    )
    return f"{os.cpu_count()} cores; Python {sys.version.split()[0]}; Node {node}; {redis}; {mariadb}"


def main(rows: int) -> None:
    print(versions(), flush=True)
    hot.main()
    cold.main(rows)
    zipf.main(rows)
