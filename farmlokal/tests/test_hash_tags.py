"""With several hash tags, the nodes of a Redis Cluster share the keys, and no script needs keys of two tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from pytest_django.fixtures import Settings
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

from dev.testing.servers import Daemon, free_port, own_redis
from dev.testing.waiting import wait_until
from farmlokal.http.representations import Representation
from farmlokal.page_cache.cache import lock_of
from farmlokal.page_cache.keys import page_key
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.limiter import Policy
from farmlokal.redis import scripts
from farmlokal.redis.client import Outages, ask
from farmlokal.redis.hash_tags import hash_tags
from farmlokal.redis.scripts import HASH_TAG, Script, key, spread_key, tag_of
from integrations.webhooks import claims
from products.catalogue_cache import LASTING, catalogue_cache

TAGS = 3
PAGE = Representation.of(b'{"results": []}')
POLICY = Policy("test", 5, 60)


@pytest.fixture
def tags(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """This process uses three hash tags."""
    three = hash_tags(HASH_TAG, TAGS)
    monkeypatch.setattr(scripts, "HASH_TAGS", three)
    return three


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One node that owns all slots. As in every cluster, it refuses a script with keys in two slots."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with own_redis(tmp_path_factory.mktemp("cluster"), *options) as node:
        client: Any = redis.Redis.from_url(node.url)
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        client.close()
        yield node


@pytest.fixture
def on_cluster(cluster: Daemon, tags: list[str], settings: Settings) -> Iterator[redis.Redis]:
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": cluster.url}}
    with redis.Redis.from_url(cluster.url) as client:
        client.flushdb()
        yield client
    assert not Outages.is_away


def pages_by_tag(tags: list[str]) -> dict[str, str]:
    """A page under each tag."""
    pages = {tag_of(page): page for page in (page_key("http", "shop", f"/{number}", "") for number in range(50))}
    assert pages.keys() == set(tags)
    return pages


@pytest.mark.parametrize("number", [1, 2, 3, 5, 16, 64])
@pytest.mark.parametrize("first", ["{farmlokal}", "{farmlokal-gw1}", "{x}"])
def test_each_equal_range_of_slots_has_one_tag(first: str, number: int) -> None:
    found = hash_tags(first, number)
    assert found[0] == first
    assert sorted(key_slot(tag.encode()) * number // SLOTS for tag in found) == list(range(number))


def test_without_the_setting_all_keys_share_one_tag() -> None:
    assert {tag_of(spread_key("limit", f"client-{number}")) for number in range(50)} == {HASH_TAG}
    assert spread_key("limit", "test", "192.0.2.1") == key("limit", "test", "192.0.2.1")


def test_names_are_spread_evenly(tags: list[str]) -> None:
    counts = Counter(tag_of(limiter.key_of(POLICY, f"192.0.{n // 250}.{n % 250}")) for n in range(3000))
    assert counts.keys() == set(tags)
    assert max(counts.values()) < 1.1 * 1000


def test_cluster_refuses_a_script_over_two_tags(on_cluster: redis.Redis, tags: list[str]) -> None:
    with pytest.raises(redis.ResponseError, match="slot"):
        ask(Script("return 1"), [f"{tags[0]}:a", f"{tags[1]}:a"])


def test_page_of_each_tag_is_a_miss_then_a_hit(on_cluster: redis.Redis, tags: list[str]) -> None:
    for page in pages_by_tag(tags).values():
        assert [catalogue_cache.get(page, lambda: PAGE, LASTING).result for _ in range(3)] == ["miss", "hit", "hit"]


def test_write_ends_the_pages_of_all_tags(on_cluster: redis.Redis, tags: list[str]) -> None:
    pages = pages_by_tag(tags).values()
    for _ in range(2):
        assert {catalogue_cache.get(page, lambda: PAGE, LASTING).result for page in pages} == {"miss"}
        catalogue_cache.announce_write()


def test_lock_of_each_page_keeps_others_out(on_cluster: redis.Redis, tags: list[str]) -> None:
    for page in pages_by_tag(tags).values():
        assert tag_of(lock_of(page)) == tag_of(page)
        assert catalogue_cache.look_up(page, "one").is_locked
        assert catalogue_cache.look_up(page, "other").is_rendered_elsewhere


def test_while_a_writer_commits_no_page_is_valid(on_cluster: redis.Redis, tags: list[str]) -> None:
    pages = pages_by_tag(tags).values()
    for page in pages:
        catalogue_cache.get(page, lambda: PAGE, LASTING)
    on_cluster.delete(catalogue_cache.generation_key)
    on_cluster.zadd(catalogue_cache.writers_key, {"writer": on_cluster.time()[0] * 1e6 + 5e6})
    for page in pages:
        lookup = catalogue_cache.look_up(page, "one")
        assert (lookup.page, lookup.generation, lookup.is_locked) == (None, "", False)


def test_limits_and_claims_work_under_each_tag(on_cluster: redis.Redis, tags: list[str]) -> None:
    for number in range(20):
        client, event = f"192.0.2.{number}", f"event-{number}"
        assert [limiter.decide(POLICY, client).remaining for _ in range(6)] == [4, 3, 2, 1, 0, -1]
        assert [claims.claim(event, owner) for owner in ("one", "other")] == ["ours", "taken"]
        claims.finish(event)
        assert claims.claim(event, "other") == "done"
    assert {tag_of(name.decode()) for name in on_cluster.scan_iter()} == set(tags)
