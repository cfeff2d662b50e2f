"""What `make bench` runs: the hot page among its peers, cold pages, and a mixture by Zipf's law."""

from __future__ import annotations

import os
import subprocess
import sys

from dev.bench import cold, hot, zipf


def versions() -> str:
    commands = (["node", "--version"], ["redis-server", "--version"], ["mariadbd", "--version"])
    found = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for command in commands]
    return f"{os.cpu_count()} cores; Python {sys.version.split()[0]}; Node {found[0]}; {'; '.join(found[1:])}"


def main(rows: int) -> None:
    print(versions(), flush=True)
    hot.main()
    cold.main(rows)
    zipf.main(rows)


if __name__ == "__main__":
    main(int(sys.argv[1]))
