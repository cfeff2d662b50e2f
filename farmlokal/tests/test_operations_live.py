"""Two workers count for the operations page together, and go on after Redis was frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from dev.testing.offers import make_offer
from dev.testing.servers import Daemon, Server, own_redis, running
from dev.testing.staff import make_staff, session_headers
from dev.testing.waiting import wait_until

DATA = "/admin/operations/data"
QUOTA = 40


class World(NamedTuple):
    server: Server
    redis: Daemon
    headers: dict[str, str]

    def document(self) -> Any:
        answer = self.server.request(DATA, **self.headers)
        assert answer.status == 200
        return answer.json

    def statuses(self, *targets: str) -> list[int]:
        return [self.server.request(target).status for target in targets]


@pytest.fixture(scope="module")
def world(
    live_database: None, database_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    make_offer()
    limit = {"RATE_LIMIT_ANONYMOUS": f"{QUOTA}/86400", "WEB_CONCURRENCY": "2"}
    with (
        own_redis(tmp_path_factory.mktemp("redis")) as redis,
        running(database_environment, REDIS_URL=redis.url, **limit) as server,
    ):
        cookie = session_headers(make_staff("view_operations"))["Cookie"]
        yield World(server, redis, {"Cookie": cookie})


def test_counts_of_two_workers_match_the_requests(world: World) -> None:
    statuses = world.statuses(*["/products"] * 30, *["/products?limit=0"] * 5, *["/products?limit=2"] * (QUOTA - 35))
    statuses += world.statuses(*["/products"] * 7, *["/nowhere"] * 5, *["/livez"] * 3)
    assert statuses == [200] * 30 + [400] * 5 + [200] * 5 + [429] * 7 + [404] * 5 + [200] * 3
    expected = {"requests:4xx": 17, "limited:anonymous": 7, "seconds:+Inf": QUOTA + 7}
    wait_until(lambda: expected.items() <= world.document()["totals"].items())
    shown = world.document()
    assert sum(shown["totals"].get(f"pages:{result}", 0) for result in ("hit", "miss")) == 35
    assert shown["clients"] == [{"policy": "anonymous", "client": "127.0.0.1", "refusals": 7}]
    assert "7 refusals: 7 anonymous" in shown["charts"]["limited"]["summary"]


def test_page_answers_while_redis_is_frozen_and_counts_resume(world: World) -> None:
    def refused() -> int:
        number: int = world.document().get("totals", {}).get("requests:4xx", 0)  # a worker may still do without Redis
        return number

    before = refused()
    world.redis.freeze()
    try:
        assert world.document()["note"].startswith("Redis does not answer")
    finally:
        world.redis.thaw()
    wait_until(lambda: world.statuses("/nowhere") and refused() > before)
