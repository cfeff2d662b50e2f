"""On a Redis Cluster one node holds all our keys, and the service finds it from any node."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from dev.testing.offers import make_offer
from dev.testing.servers import free_port, own_redis, running
from dev.testing.waiting import wait_until
from farmlokal.redis.scripts import HASH_TAG

pytestmark = pytest.mark.usefixtures("live_database")

SLOTS = 16384
OURS = binascii.crc_hqx(HASH_TAG.strip("{}").encode(), 0) % SLOTS


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[str]]:
    """Return the URLs of two nodes. The second one has our slot."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    options = [("--cluster-enabled", "yes", "--cluster-port", str(free_port())) for _ in folders]
    with own_redis(folders[0], *options[0]) as one, own_redis(folders[1], *options[1]) as other:
        first: Any = redis.Redis.from_url(one.url)
        second: Any = redis.Redis.from_url(other.url)
        rest = [(start, end) for start, end in ((0, OURS - 1), (OURS + 1, SLOTS - 1)) if start <= end]
        first.execute_command("CLUSTER ADDSLOTSRANGE", *(slot for pair in rest for slot in pair))
        second.execute_command("CLUSTER ADDSLOTS", OURS)
        first.execute_command("CLUSTER MEET", "127.0.0.1", urlsplit(other.url).port, options[1][-1])
        wait_until(
            lambda: all(node.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for node in (first, second))
        )
        first.close()
        second.close()
        yield [one.url, other.url]


def test_service_follows_its_keys(nodes: list[str], database_environment: dict[str, str]) -> None:
    make_offer()
    with running(database_environment, REDIS_URL=nodes[0], RATE_LIMIT_ANONYMOUS="1000/3600") as server:
        # Until both processes use the right node.
        wait_until(lambda: all(server.request("/categories").headers["x-cache"] == "hit" for _ in range(12)))
        assert server.request("/products").headers["x-cache"] == "miss"
    with redis.Redis.from_url(nodes[1]) as client:
        assert len(client.keys("*:limit:*")) == 1
        assert len(client.keys("*:page:*")) == 2
        assert client.keys("*:traffic:60:*")  # from the reports at the end of the processes
