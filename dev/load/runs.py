"""Runs of Locust without its web interface, and what their files of results say.

python -m dev.load.runs URL USERS SECONDS: one run against a service that is already there.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from dev.bench.figures import progress, table
from dev.load.catalogue import TIMEOUT_SECONDS

RESULTS = Path(".local/load")  # Locust appends _stats.csv and so on
REPORT, LOG = Path(".local/load.html"), Path(".local/load.log")
USERS_A_SECOND = 25
PROGRESS_SECONDS = 5
KILL_SECONDS = 30
TOTAL = "Aggregated"
LIMITED = ": 429"  # appended by locustfile.py
COLUMNS = ("kind", "requests a second", "p50 ms", "p95 ms", "p99 ms", "failures", "429")
Row = Mapping[str, str]


class Load(NamedTuple):
    users: int
    seconds: int
    visitor_rate: float | None = None  # tasks a second of each visitor; None: visitors pause like people


@contextmanager
def running(url: str, load: Load, secrets: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Locust until it ends by itself. It is stopped if the caller ends before."""
    for file in RESULTS.parent.glob(f"{RESULTS.name}_*.csv"):
        file.unlink()
    command = [str(Path(sys.executable).with_name("locust")), "--headless", "--only-summary", "--loglevel", "WARNING"]
    command += ["--host", url, "--users", str(load.users), "--spawn-rate", str(USERS_A_SECOND), "--reset-stats"]
    command += ["--run-time", f"{load.seconds + load.users // USERS_A_SECOND}s", "--exit-code-on-error", "0"]
    command += ["--html", str(REPORT), "--csv", str(RESULTS)]
    rate = {} if load.visitor_rate is None else {"LOAD_USER_RATE": str(load.visitor_rate)}
    environment = {**os.environ, **secrets, **rate, "PYTHONPATH": str(Path.cwd())}
    with LOG.open("wb") as log:
        locust = subprocess.Popen(command, env=environment, stderr=log)
    try:
        yield locust
    finally:
        locust.terminate()
        locust.wait(timeout=KILL_SECONDS)


def run(url: str, load: Load, secrets: Mapping[str, str], watch: Callable[[int], None] | None = None) -> list[Row]:
    """One whole run with progress; the rows of its statistics. watch() gets the pid of Locust every few seconds."""
    with running(url, load, secrets) as locust:
        while wait(locust, PROGRESS_SECONDS):
            if watch:
                watch(locust.pid)
            progress(f"{load.users} users: {state()}")
    if locust.returncode:
        raise SystemExit(f"locust ended with status {locust.returncode}, see {LOG}")
    return statistics()


def wait(locust: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether Locust still runs after that many seconds."""
    try:
        locust.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def state() -> str:
    """The newest line of the run's history."""
    rows = list(_read("stats_history"))
    if not rows:
        return "begins"
    last = rows[-1]
    rate, failures = float(last["Requests/s"]), last["Total Failure Count"]
    return f"{rate:,.0f} requests/s, p95 {last['95%']} ms, {failures} failures in {last['Total Request Count']}"


def statistics() -> list[Row]:
    """A row for each kind of request, the total last."""
    return list(_read("stats"))


def cells(row: Row, limited: int) -> tuple[str, ...]:
    """Those of COLUMNS. Locust rounds times above 100 ms to two digits."""
    times = (row[share] for share in ("50%", "95%", "99%"))
    return (row["Name"], f"{float(row['Requests/s']):,.1f}", *times, row["Failure Count"], str(limited))


def report(rows: list[Row]) -> list[tuple[str, ...]]:
    """The kinds, the most frequent first; refusals by the rate limit are a column, not rows."""
    limited = {
        row["Name"].removesuffix(LIMITED): int(row["Request Count"]) for row in rows if row["Name"].endswith(LIMITED)
    }
    kinds = [row for row in rows if not row["Name"].endswith(LIMITED)]
    kinds.sort(key=lambda row: (row["Name"] == TOTAL, -int(row["Request Count"])))
    totals = {TOTAL: sum(limited.values())}
    named = [cells(row, (totals | limited).get(row["Name"], 0)) for row in kinds]
    return [("all" if name == TOTAL else name, *rest) for name, *rest in named]


def failures() -> list[str]:
    """Each kind of failure with its number."""
    return [f"{row['Name']}: {row['Error']}: {row['Occurrences']}" for row in _read("failures")]


def _read(name: str) -> Iterator[Row]:
    path = RESULTS.with_name(f"{RESULTS.name}_{name}.csv")
    if path.exists():
        with path.open(newline="") as lines:
            yield from csv.DictReader(lines)


def main(url: str, users: int, seconds: int) -> None:
    """The secrets of the traffic come from the environment."""
    try:
        requests.get(f"{url}/livez", timeout=TIMEOUT_SECONDS).raise_for_status()
    except requests.RequestException as error:
        raise SystemExit(f"make load: URL={url} does not answer: {error}") from error
    print(table(COLUMNS, report(run(url, Load(users, seconds), {}))))
    tell_end()


def tell_end() -> None:
    """Failures, and where the report is."""
    for failure in failures():
        progress(f"failed: {failure}")
    progress(f"report: {REPORT.absolute()}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
