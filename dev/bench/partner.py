"""Quotes while the partner fails: how each fault ends and when, and what an outage costs the partner and the callers.

The service is gunicorn with the partner on real sockets. For the faults the breaker is kept closed, so that every call
meets its fault; an outage is the breaker's own.
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
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import django

from dev.bench.client import Connection
from dev.bench.figures import percentile, table, tell
from dev.testing.servers import free_port
from dev.testing.sockets import answer_with, blackhole, listening, make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


CALLS = int(os.environ.get("CALLS") or 1000)
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS") or 60)
CALLERS = 32
PRODUCTS = 500
DEADLINE = 0.5
RATE_LIMITED = {"error_rate": 1, "status": 429, "retry_after": 3600}
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))

quotes = itertools.count()  # none is asked for twice

# Names that nobody resolves, for a service that is started with this beside it.
STALL = """
import socket, time
really = socket.getaddrinfo
def stalling(host, *args, **kwargs):
    if host == "stalls.example" and not kwargs.get("flags"):
        time.sleep(5)
    return really(host, *args, **kwargs)
socket.getaddrinfo = stalling
"""


class Partner:
    """The sandbox, in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fails(self, **faults: object) -> None:
        self._ask("/faults", json.dumps(faults).encode())

    def arrivals(self) -> list[float]:
        found: list[float] = self._ask("/arrivals")["arrivals"]
        return found

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.url + path, body, method="PUT" if body else "GET")  # noqa: S310  # http
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)


@contextlib.contextmanager
def partner() -> Iterator[Partner]:
    command = [sys.executable, "manage.py", "partner_sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        (url,) = re.findall(r"http://[0-9.:]+", process.stdout.readline())
        try:
            yield Partner(url)
        finally:
            process.terminate()


class Fault(NamedTuple):
    expected: str
    set: Mapping[str, object] = {}
    url: str = ""  # in place of the sandbox


class Call(NamedTuple):
    began: float
    seconds: float
    code: str


@contextlib.contextmanager
def service(sandbox: Partner, workers: int, **environment: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(STALL)
        of_partner = {
            "PARTNER_API_URL": sandbox.url,
            "PARTNER_DEADLINE_SECONDS": str(DEADLINE),
            "OAUTH_TOKEN_URL": f"{sandbox.url}/oauth/token",
            "OAUTH_CLIENT_ID": "farmlokal",
            "OAUTH_CLIENT_SECRET": "farmlokal-secret",
        }
        ours = {"PORT": str(port), "WEB_CONCURRENCY": str(workers), "RATE_LIMIT_ANONYMOUS": "off", "LOG_LEVEL": "ERROR"}
        path = {"PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]), "ALLOWED_HOSTS": "127.0.0.1"}
        process = subprocess.Popen([GUNICORN], env={**os.environ, **of_partner, **ours, **path, **environment})
        try:
            asyncio.run(answers(port))
            yield port, process
        finally:
            process.terminate()
            process.wait(timeout=60)


async def answers(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError, EOFError):
            await Connection(port).get("/livez")
            return
        await asyncio.sleep(0.1)
    raise SystemExit("the service does not start")


async def load(
    port: int, calls: int | None = None, seconds: float | None = None, pause: float = 0, callers: int = CALLERS
) -> list[Call]:
    """Each quote another one: so many calls, or for so many seconds."""
    found: list[Call] = []
    numbers = iter(range(calls) if calls else iter(int, 1))
    ends = time.monotonic() + (seconds or 3600)

    async def caller() -> None:
        connection = Connection(port)
        for _ in numbers:
            if time.monotonic() >= ends:
                break
            number = next(quotes)
            began = time.monotonic()
            answer = await connection.get(f"/products/{1 + number % PRODUCTS}/delivery-quote?pincode={100000 + number}")
            code = "200" if answer.status == 200 else answer.body.partition(b'"code":"')[2].partition(b'"')[0].decode()
            found.append(Call(began, time.monotonic() - began, code))
            await asyncio.sleep(pause)
        connection.close()

    await asyncio.gather(*(caller() for _ in range(callers)))
    return found


def resources(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Open files and threads of the workers."""
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in workers)
    return files, sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in workers)


def run_faults(sandbox: Partner) -> None:
    from integrations.partner.client import client  # noqa: PLC0415  # once Django is set up

    nothing = answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    with (
        tempfile.TemporaryDirectory() as folder,
        blackhole() as hole,
        listening(nothing, make_certificate(Path(folder))[0]) as tls,  # for another name, by nobody we know
    ):
        refused = free_port()
        faults = {
            "none": Fault("200"),
            "connect refused": Fault("partner-unavailable", url=f"http://127.0.0.1:{refused}"),
            "connect blackholed": Fault("partner-timeout", url=f"http://127.0.0.1:{hole}"),
            "TLS mismatch": Fault("partner-unavailable", url=f"https://127.0.0.1:{tls}"),
            "DNS stall": Fault("partner-timeout", url="http://stalls.example"),
            "never answers": Fault("partner-timeout", {"how": "silent"}),
            "header drip": Fault("partner-timeout", {"how": "drip-headers"}),
            "body drip": Fault("partner-timeout", {"how": "drip-body"}),
            "reset mid-body": Fault("partner-unavailable", {"how": "reset"}),
            "200 MB body": Fault("partner-unavailable", {"how": "huge"}),
            "bad JSON": Fault("partner-unavailable", {"how": "bad-json"}),
            "429, Retry-After 3600": Fault(
                "partner-unavailable", {"error_rate": 1, "status": 429, "retry_after": 3600}
            ),
            "500": Fault("partner-unavailable", {"error_rate": 1}),
            "404": Fault("partner-rejected", {"error_rate": 1, "status": 404}),
            "slow 200": Fault("partner-timeout", {"latency_ms": DEADLINE * 1000 + 100}),
        }
        rows = []
        for name, fault in faults.items():
            sandbox.fails(**fault.set)
            url = {"PARTNER_API_URL": fault.url} if fault.url else {}
            with service(sandbox, 2, **url) as (port, process), kept_closed(client.breaker):
                asyncio.run(load(port, CALLERS * 2))
                before = resources(process)
                calls = asyncio.run(load(port, CALLS))
                time.sleep(1)
                after = resources(process)
            seconds = [call.seconds for call in calls]
            codes = Counter(call.code for call in calls)
            rows.append(
                (
                    name,
                    ", ".join(f"{code} {number}" for code, number in codes.items()),
                    f"{percentile(seconds, 0.5) * 1000:.0f}",
                    f"{percentile(seconds, 0.99) * 1000:.0f}",
                    f"{max(seconds) * 1000:.0f}",
                    f"{after[0] - before[0]:+d} / {after[1] - before[1]:+d}",
                )
            )
            tell(f"{name}: {rows[-1]}")
        head = (f"fault, {CALLS} calls by {CALLERS}", "ended as", "p50 ms", "p99 ms", "max", "files / threads left")
        print(table(head, rows))


@contextlib.contextmanager
def kept_closed(breaker: object) -> Iterator[None]:
    stop = threading.Event()

    def reset() -> None:
        while not stop.wait(0.05):
            breaker.reset()  # type: ignore[attr-defined]

    thread = threading.Thread(target=reset)
    thread.start()
    yield
    stop.set()
    thread.join()
    breaker.reset()  # type: ignore[attr-defined]


def run_outage(sandbox: Partner) -> None:
    from integrations.partner.client import client  # noqa: PLC0415  # once Django is set up

    client.breaker.reset()
    with service(sandbox, 4, PARTNER_DEADLINE_SECONDS="2") as (port, _):
        asyncio.run(load(port, seconds=3, pause=0.02))
        sandbox.fails(error_rate=1)
        broken = time.monotonic()
        calls = asyncio.run(load(port, seconds=OUTAGE_SECONDS, pause=0.02))
        arrivals = [arrival for arrival in sandbox.arrivals() if arrival > broken]
        sandbox.fails()
        healed = time.monotonic()
        after = asyncio.run(load(port, seconds=65, pause=0.02))
    first_success = next((call for call in after if call.code == "200"), None)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    opened = next((n for n, gap in enumerate(gaps) if gap > 4), len(arrivals) - 1)
    before_open = [call for call in calls if call.began <= arrivals[opened]]
    fast = [call.seconds for call in calls if call.began > arrivals[opened] + 0.5]
    print(f"requests before it opened {len(before_open)}, calls to the partner {opened + 1}")
    print("probes after", ", ".join(f"{arrival - arrivals[opened]:.2f}" for arrival in arrivals[opened + 1 :]), "s")
    print(
        f"open: {len(fast)} answers, p50 {percentile(fast, 0.5) * 1000:.1f}, p99 {percentile(fast, 0.99) * 1000:.1f} ms"
    )
    print(f"first success {first_success.began - healed if first_success else -1:.1f} s after healing")


def run_open(sandbox: Partner) -> None:
    from integrations.partner.client import client  # noqa: PLC0415  # once Django is set up

    with service(sandbox, 2) as (port, _):
        client.breaker.open()
        asyncio.run(load(port, CALLS))  # all threads have their connection to MySQL
        before = len(sandbox.arrivals())
        seconds = [call.seconds for call in asyncio.run(load(port, CALLS, callers=1))]
        half, most = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
        opened = len(sandbox.arrivals()) - before
        print(f"open, one caller: p50 {half:.1f}, p99 {most:.1f} ms, {opened} calls to the partner")
    client.breaker.reset()


def main() -> None:
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command("seed_products", PRODUCTS, "--reset", verbosity=0)
    parts = os.environ.get("PARTS") or "faults open outage"
    with partner() as sandbox:
        if "faults" in parts:
            run_faults(sandbox)
        sandbox.fails()
        if "open" in parts:
            run_open(sandbox)
        if "outage" in parts:
            run_outage(sandbox)


if __name__ == "__main__":
    django.setup()
    main()
