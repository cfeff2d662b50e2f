"""Many simultaneous logins on the real server. Each one costs a password hash."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from dev.testing.offers import make_offers
from dev.testing.servers import Server, running

pytestmark = pytest.mark.usefixtures("live_database")

LOGINS = 48
CSRF_TOKEN = "c" * 32


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    make_offers({"name": f"n{n}"} for n in range(30))
    with running(database_environment, WEB_CONCURRENCY="1", TRUSTED_PROXY_HOPS="1") as server:
        yield server


def log_in(server: Server, name: str, address: str) -> int:
    body = urlencode({"username": name, "password": "wrong", "csrfmiddlewaretoken": CSRF_TOKEN})
    lines = [
        "POST /admin/login/ HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Cookie: csrftoken={CSRF_TOKEN}",
        f"X-Forwarded-For: {address}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
    ]
    return server.raw("\r\n".join([*lines, "", body]).encode()).status


def test_cold_pages_are_served_while_logins_hash(server: Server) -> None:
    """Each login comes from another address, so the limits refuse none."""
    with ThreadPoolExecutor(LOGINS) as threads:
        logins = [threads.submit(log_in, server, f"a{n}", f"198.51.100.{n}") for n in range(LOGINS)]
        pages: list[int] = []
        while not all(login.done() for login in logins):
            pages.append(server.request(f"/products?price_min={len(pages)}.01").status)
    assert 200 in [login.result() for login in logins]
    assert set(pages) == {200}
