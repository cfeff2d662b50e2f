"""make fuzz: hostile requests to the whole service, until REQUESTS of them were answered or refused.

Fails on a 5xx that is not named in dev/fuzz, on a well-formed request without a response, on a worker that ended, and
on an error in the log. The same SEED makes the same cases on the same catalogue; answers may differ, as cases run at
the same time.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import requests
from django.contrib.auth import get_user_model

from dev.bench.figures import progress
from dev.bench.turns import setting
from dev.fuzz import openapi
from dev.fuzz.api import Api
from dev.fuzz.cases import Case
from dev.fuzz.exchange import Caller
from dev.fuzz.report import FAILURES, Report
from dev.fuzz.staff import Staff
from dev.fuzz.values import Values
from dev.fuzz.wire import Wire
from dev.load.catalogue import TIMEOUT_SECONDS
from dev.load.service import Service, whole_service
from dev.testing.staff import session_headers

ROWS = 5_000
SEED = setting("SEED", 20261129)
CALLERS = 24
REFILL_CASES = 2_000  # with the same values of hypothesis
SCHEMATHESIS_SHARE = 0.05  # of the other requests, and besides them: it sends fewer than it is asked for
WEIGHTS = {"reads": 46, "writes": 14, "webhooks": 14, "admin": 5, "raw HTTP": 21}
PROGRESS_SECONDS = 5
BAD_LOG = ("WORKER TIMEOUT", "was sent SIG", "Traceback")
BAD_LEVELS = {"error", "critical"}


def valid_values(service: Service) -> dict[str, list[str]]:
    """By parameter of GET /products."""

    def get(path: str) -> Any:
        return requests.get(service.url + path, timeout=TIMEOUT_SECONDS).json()

    page = get("/products?limit=100")
    products = page["results"]
    slugs = {
        name: sorted({product[name]["slug"] for product in products}) for name in ("commodity", "state", "district")
    }
    return slugs | {
        "category": [entry["slug"] for entry in get("/categories")["results"]],
        "farm": sorted({f"{product['farm']['id']}" for product in products}),
        "ids": [f"{number}" for number in range(1, ROWS + 1)],
        "q": ["mango", "organic tomato", "to"],
        "sort": ["price", "-created_at", "name"],
        "limit": ["1", "100"],
        "cursor": parse_qs(urlsplit(page["next"]).query)["cursor"],
        "price_min": ["1", "45.50"],
        "price_max": ["60"],
        "organic": ["true"],
        "in_stock": ["false"],
        "fields": ["name,price", "id"],
        "pincode": ["560001", "110001"],
    }


def makers(service: Service, values: Values, token: str) -> list[Callable[[], Case]]:
    """In the order of WEIGHTS."""
    api = Api(values, valid_values(service), token, service.webhook_secret)
    user = get_user_model().objects.create_superuser(f"fuzz-{time.time_ns()}")
    staff = Staff(values, service.server.port, session_headers(user))
    return [api.read, api.write, api.webhook, staff.case, Wire(values.rng).case]


def cases(values: Values, kinds: list[Callable[[], Case]]) -> Iterator[Case]:
    """Without end."""
    while True:
        values.refill()
        for make in values.rng.choices(kinds, list(WEIGHTS.values()), k=REFILL_CASES):
            yield make()


def access_token(service: Service) -> str:
    url, name, secret = (service.secrets[f"LOAD_{part}"] for part in ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"))
    form = {"grant_type": "client_credentials"}
    return str(requests.post(url, form, auth=(name, secret), timeout=TIMEOUT_SECONDS).json()["access_token"])


async def send_all(port: int, made: Iterator[Case], wanted: int, report: Report) -> None:
    async def call() -> None:
        caller = Caller(port)
        while report.requests < wanted:
            case = next(made)
            report.add(case, await caller.send(case))
        caller.close()

    async def tell() -> None:
        start = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            rate = report.requests / (time.monotonic() - start)
            progress(f"make fuzz: {report.requests:,} of {wanted:,}, {rate:.0f}/s, {report.failures} failures")

    teller = asyncio.create_task(tell())
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    teller.cancel()


def add_schemathesis(folder: Path, report: Report) -> None:
    for status, sent in openapi.responses(folder):
        report.counts["schemathesis", status] += 1
        if status >= 500:
            report.fail("schemathesis", {"statuses": [status], "sent": [sent]})


def log_faults(log: Path) -> Counter[str]:
    faults: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        faults.update(text for text in BAD_LOG if text in line)
        document = json.loads(line) if line.startswith("{") else {"level": "error", "event": f"not JSON: {line[:100]}"}
        if document["level"] in BAD_LEVELS:
            faults[f"{document['level']}: {document['event']}"] += 1
    return faults


def main(wanted: int) -> None:
    with whole_service(ROWS) as service, tempfile.TemporaryDirectory() as folder:
        master = psutil.Process(service.server.pid)
        workers = {worker.pid for worker in master.children()}
        report, token, values = Report(), access_token(service), Values(random.Random(SEED))
        made = cases(values, makers(service, values, token))
        start = time.monotonic()
        tested = openapi.start(service.url, int(wanted * SCHEMATHESIS_SHARE), SEED, token, Path(folder))
        try:
            asyncio.run(send_all(service.server.port, made, wanted, report))
            tested.wait(timeout=600)
        finally:
            tested.kill()
        add_schemathesis(Path(folder), report)
        seconds = time.monotonic() - start
        has_kept_workers = {worker.pid for worker in master.children()} == workers
        faults = log_faults(service.log)
    print(f"\n{report.requests:,} requests in {seconds:.0f} s, {report.requests / seconds:.0f} a second; SEED={SEED}\n")
    print(report.table(), flush=True)
    complaints = [f"{count} x {fault}" for fault, count in faults.items()]
    complaints += [] if has_kept_workers else ["a worker has ended"]
    complaints += [f"{report.failures} failures, see {FAILURES}"] if report.failures else []
    sys.exit(f"make fuzz: {'; '.join(complaints)}" if complaints else 0)
