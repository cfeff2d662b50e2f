"""make bench-partner: how quotes end, and after how long, while the partner fails; and the cost of an outage.

The service runs under gunicorn and calls the partner over real sockets. For the faults the breaker is kept closed, so
that each call meets its fault; the outage leaves the breaker alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from django.core.management import call_command

from dev.bench.client import Connection
from dev.bench.figures import percentile, progress, save, table
from dev.testing import resolver
from dev.testing.repeating import repeating
from dev.testing.servers import Server, free_port, running
from dev.testing.sockets import answer_with, blackhole, listening, make_certificate
from integrations.partner.client import client

CALLS = int(os.environ.get("CALLS") or 1000)
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS") or 60)
PARTS = (os.environ.get("PARTS") or "faults open outage").split()
CALLERS = 32
PRODUCTS = 500
DEADLINE_SECONDS = 0.5
OUTAGE_DEADLINE_SECONDS = 2
PAUSE_SECONDS = 0.02
RECOVERY_SECONDS = 65
STALLING_HOST = "stalls.example"
MIN_OPEN_SECONDS = 4  # a longer gap between two arrivals means that the breaker was open
EMPTY_JSON = answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

quote_numbers = itertools.count()  # no quote is requested twice, so that none is in the cache


class Partner:
    """The sandbox in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def set_faults(self, **faults: object) -> None:
        self._request("/faults", json.dumps(faults).encode())

    def arrivals(self) -> list[float]:
        """Times of all calls, on the machine's monotonic clock."""
        arrivals: list[float] = self._request("/arrivals")["arrivals"]
        return arrivals

    def _request(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.url + path, body, method="PUT" if body else "GET")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def run_partner() -> Iterator[Partner]:
    command = [sys.executable, "manage.py", "partner_sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        (url,) = re.findall(r"http://[0-9.:]+", process.stdout.readline())
        try:
            yield Partner(url)
        finally:
            process.terminate()


class Fault(NamedTuple):
    expected: str  # code of the problem, or 200
    settings: Mapping[str, object] = {}
    url: str = ""  # replaces the sandbox


class Call(NamedTuple):
    started_at: float
    seconds: float
    code: str  # 200, or the code of the problem


@contextlib.contextmanager
def run_service(partner_url: str, token_url: str, workers: int, deadline: float = DEADLINE_SECONDS) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        resolver.write_module(Path(folder), STALLING_HOST, stalled=Path(folder))
        settings = {
            "PARTNER_API_URL": partner_url,
            "PARTNER_DEADLINE_SECONDS": str(deadline),
            "OAUTH_TOKEN_URL": f"{token_url}/oauth/token",
            "OAUTH_CLIENT_ID": "farmlokal",
            "OAUTH_CLIENT_SECRET": "farmlokal-secret",
            "WEB_CONCURRENCY": str(workers),
            "RATE_LIMIT_ANONYMOUS": "off",
            "ALLOWED_HOSTS": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]),
        }
        with running(os.environ, **settings) as server:
            yield server


async def load(
    port: int, calls: int | None = None, seconds: float | None = None, pause: float = 0, callers: int = CALLERS
) -> list[Call]:
    """Request new quotes, this many or for this long."""
    finished: list[Call] = []
    numbers = iter(range(calls) if calls else iter(int, 1))
    deadline = time.monotonic() + (seconds or 3600)

    async def call() -> None:
        connection = Connection(port)
        for _ in numbers:
            if time.monotonic() >= deadline:
                break
            number = next(quote_numbers)
            start = time.monotonic()
            answer = await connection.get(f"/products/{1 + number % PRODUCTS}/delivery-quote?pincode={100000 + number}")
            code = "200" if answer.status == 200 else answer.body.partition(b'"code":"')[2].partition(b'"')[0].decode()
            finished.append(Call(start, time.monotonic() - start, code))
            await asyncio.sleep(pause)
        connection.close()

    await asyncio.gather(*(call() for _ in range(callers)))
    return finished


def resources(server: Server) -> tuple[int, int]:
    """Open files and threads of all workers."""
    files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.workers)
    return files, sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in server.workers)


def faults(hole: int, tls: int) -> dict[str, Fault]:
    """name -> fault; hole is a port that answers no SYN, tls one with a certificate for another name."""
    return {
        "none": Fault("200"),
        "connect refused": Fault("partner-unavailable", url=f"http://127.0.0.1:{free_port()}"),
        "connect blackholed": Fault("partner-timeout", url=f"http://127.0.0.1:{hole}"),
        "TLS mismatch": Fault("partner-unavailable", url=f"https://127.0.0.1:{tls}"),
        "DNS stall": Fault("partner-timeout", url=f"http://{STALLING_HOST}"),
        "never answers": Fault("partner-timeout", {"how": "silent"}),
        "header drip": Fault("partner-timeout", {"how": "drip-headers"}),
        "body drip": Fault("partner-timeout", {"how": "drip-body"}),
        "reset mid-body": Fault("partner-unavailable", {"how": "reset"}),
        "200 MB body": Fault("partner-unavailable", {"how": "huge"}),
        "bad JSON": Fault("partner-unavailable", {"how": "bad-json"}),
        "429, Retry-After 3600": Fault("partner-unavailable", {"error_rate": 1, "status": 429, "retry_after": 3600}),
        "500": Fault("partner-unavailable", {"error_rate": 1}),
        "404": Fault("partner-rejected", {"error_rate": 1, "status": 404}),
        "slow 200": Fault("partner-timeout", {"latency_ms": DEADLINE_SECONDS * 1000 + 100}),
    }


def measure_fault(sandbox: Partner, name: str, fault: Fault) -> tuple[str, ...]:
    """A row of the report."""
    sandbox.set_faults(**fault.settings)
    with run_service(fault.url or sandbox.url, sandbox.url, 2) as server, kept_closed():
        asyncio.run(load(server.port, CALLERS * 2))
        before = resources(server)
        calls = asyncio.run(load(server.port, CALLS))
        time.sleep(1)  # for the service to release what the last calls held
        after = resources(server)
    seconds = [call.seconds for call in calls]
    codes = Counter(call.code for call in calls)
    return (
        name,
        fault.expected,
        ", ".join(codes) if len(codes) == 1 else ", ".join(f"{code} {number}" for code, number in codes.items()),
        *(f"{percentile(seconds, share) * 1000:.0f}" for share in (0.5, 0.99, 1)),
        f"{after[0] - before[0]:+d} / {after[1] - before[1]:+d}",
    )


def run_faults(sandbox: Partner) -> None:
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        blackhole() as hole,
        listening(EMPTY_JSON, make_certificate(Path(folder))[0]) as tls,
    ):
        for name, fault in faults(hole, tls).items():
            rows.append(measure_fault(sandbox, name, fault))
            progress(" ".join(rows[-1]))
    head = (
        f"fault, {CALLS} calls by {CALLERS}",
        "expected",
        "ended as",
        "p50 ms",
        "p99 ms",
        "maximum ms",
        "new files / threads",
    )
    print(table(head, rows))
    save("partner", f"make bench-partner CALLS={CALLS}", ("fault", *head[2:6]), [(row[0], *row[2:6]) for row in rows])


@contextlib.contextmanager
def kept_closed() -> Iterator[None]:
    """Close the breaker again and again."""
    with repeating(client.breaker.reset, 0.05):
        yield
    client.breaker.reset()


def run_outage(sandbox: Partner) -> None:
    client.breaker.reset()
    with run_service(sandbox.url, sandbox.url, 4, OUTAGE_DEADLINE_SECONDS) as server:
        asyncio.run(load(server.port, seconds=3, pause=PAUSE_SECONDS))
        sandbox.set_faults(error_rate=1)
        broken_at = time.monotonic()
        calls = asyncio.run(load(server.port, seconds=OUTAGE_SECONDS, pause=PAUSE_SECONDS))
        arrivals = [arrival for arrival in sandbox.arrivals() if arrival > broken_at]
        sandbox.set_faults()
        healed_at = time.monotonic()
        after = asyncio.run(load(server.port, seconds=RECOVERY_SECONDS, pause=PAUSE_SECONDS))
    first_success = next((call.started_at - healed_at for call in after if call.code == "200"), float("inf"))
    rows = [*outage_rows(calls, arrivals), ("first success, s after recovery", f"{first_success:.1f}")]
    columns = (f"outage of {OUTAGE_SECONDS:.0f} s, {CALLERS} callers, 4 processes", "")
    print(table(columns, rows))
    save("partner_outage", f"make bench-partner PARTS=outage OUTAGE_SECONDS={OUTAGE_SECONDS:.0f}", columns, rows)


def outage_rows(calls: list[Call], arrivals: list[float]) -> list[tuple[str, str]]:
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    opened = next((n for n, gap in enumerate(gaps) if gap > MIN_OPEN_SECONDS), len(arrivals) - 1)
    opened_at = arrivals[opened]
    probes = [f"{arrival - opened_at:.1f}" for arrival in arrivals[opened + 1 :]]
    before_open = [call for call in calls if call.started_at <= opened_at]
    while_open = [call.seconds for call in calls if call.started_at > opened_at + 0.5]
    p50, p99 = (percentile(while_open, share) * 1000 for share in (0.5, 0.99))
    return [
        ("requests before the breaker opened", f"{len(before_open)}"),
        ("calls to the partner before it opened", f"{opened + 1}"),
        ("probes, s after it opened", ", ".join(probes)),
        ("responses while open, without a call", f"{len(while_open):,}"),
        ("p50 ms while open", f"{p50:.1f}"),
        ("p99 ms while open", f"{p99:.1f}"),
    ]


def run_open(sandbox: Partner) -> None:
    with run_service(sandbox.url, sandbox.url, 2) as server:
        client.breaker.hold_open()
        asyncio.run(load(server.port, CALLS))  # until all threads have a MySQL connection
        before = len(sandbox.arrivals())
        seconds = [call.seconds for call in asyncio.run(load(server.port, CALLS, callers=1))]
        p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
        calls = len(sandbox.arrivals()) - before
        columns = ("breaker open, one caller", "")
        rows = [("p50 ms", f"{p50:.1f}"), ("p99 ms", f"{p99:.1f}"), ("calls to the partner", f"{calls}")]
        print(table(columns, rows))
        save("partner_open", f"make bench-partner PARTS=open CALLS={CALLS}", columns, rows)
    client.breaker.reset()


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("seed_products", PRODUCTS, "--reset", verbosity=0)
    with run_partner() as sandbox:
        for part, run in (("faults", run_faults), ("open", run_open), ("outage", run_outage)):
            if part in PARTS:
                sandbox.set_faults()
                run(sandbox)
