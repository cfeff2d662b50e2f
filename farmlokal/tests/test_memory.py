"""Two workers and gunicorn's master fit into the 512 MB of a small instance, with their memory full of pages."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import orjson
import pytest

from dev.testing.offers import make_offers
from dev.testing.servers import Server, running
from farmlokal.edge.local_pages import MAX_PAGES_BYTES
from farmlokal.http.representations import Representation

pytestmark = pytest.mark.usefixtures("live_database")

MAX_MEGABYTES = 360  # 290 were measured; without the limit of heaps, 330
CALLERS = 16
PAGE_BYTES = 15_000  # at least, of a page of 25
PAGES = 2 * 2 * MAX_PAGES_BYTES // PAGE_BYTES // 25 * 25  # for two workers, and twice what fits


def targets(part: int) -> Iterator[str]:
    """Pages, searches, single products and errors. The kernel deals the connections to both workers."""
    for number in range(part, PAGES, CALLERS):
        yield f"/products?price_min=0.{number % 100:02d}&price_max={1000 + number}&sort=price"
        if number % 10 == 0:
            yield from (f"/products?q=offer+{number}", f"/products/{number}", f"/products?limit={number}")


def ask(server: Server, part: int) -> int:
    """The number of pages served."""
    connection, pages = HTTPConnection("127.0.0.1", server.port, timeout=60), 0
    for target in targets(part):
        connection.request("GET", target, headers={"Host": "localhost"})
        answer = connection.getresponse()
        pages += len(answer.read()) > PAGE_BYTES
        assert answer.status in {200, 400, 404}
    connection.close()
    return pages


def megabytes(pid: int) -> float:
    """The memory of a process; pages that it shares with others count in part (PSS)."""
    (kilobytes,) = re.findall(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(kilobytes) / 1024


def test_two_workers_full_of_pages_fit_into_a_small_instance(database_environment: dict[str, str]) -> None:
    make_offers([{"name": f"Offer {number}", "description": "From the farm. " * 20} for number in range(60)])
    with running(database_environment, WEB_CONCURRENCY="2", ACCESS_LOG="off") as server:
        with ThreadPoolExecutor(CALLERS) as callers:
            pages = sum(callers.map(lambda part: ask(server, part), range(CALLERS)))
        assert pages >= PAGES
        sizes = {pid: megabytes(pid) for pid in (server.process.pid, *server.workers)}
        assert len(sizes) == 3
        assert sum(sizes.values()) < MAX_MEGABYTES, sizes


def test_body_in_memory_takes_little_more_than_its_length() -> None:
    """The limit of a process's pages counts lengths. orjson reserves 4 KB for these 400 bytes."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = Representation.of(orjson.dumps({"description": "x" * 380}), gzips=False)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept.identity) < after - before < len(kept.identity) + 600
