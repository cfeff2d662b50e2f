"""On a Redis Cluster the service finds the masters of its keys from any node, and loses none when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis
import uvloop
from django.core.cache import caches
from pytest_django.fixtures import Settings

from dev.testing.offers import make_offer
from dev.testing.redis_cluster import RedisCluster, redis_cluster
from dev.testing.redis_nodes import ask as ask_node
from dev.testing.servers import Daemon, free_port, running
from dev.testing.waiting import wait_until
from farmlokal.doctor import redis as doctor
from farmlokal.operations.servers import redis_numbers
from farmlokal.redis import client, scripts
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.client import Outages, ask, run
from farmlokal.redis.scripts import DELETE_KEY, PROBE_KEY, Call, Script
from farmlokal.single_flight import release, try_lock

pytestmark = pytest.mark.usefixtures("live_database")

WRITE = Script("return redis.call('INCR', KEYS[1])")
OTHER_KEYS = [f"{{other-{number}}}:probe" for number in range(20)]  # on each of three masters, surely


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), masters=3, replicas=0) as started:
        yield started


def seed_without(cluster: RedisCluster, key: str) -> str:
    """A URL that names a dead node, and one that lacks this key."""
    other = next(node for node in cluster.nodes if node is not cluster.owner_of(key))
    dead = f"127.0.0.1:{free_port()}"
    return f"redis+cluster://{dead},{urlsplit(other.url).netloc}"


@pytest.fixture
def on_cluster(cluster: RedisCluster, settings: Settings) -> Iterator[str]:
    """Makes this process use the cluster. Returns its URL."""
    url = seed_without(cluster, PROBE_KEY)
    settings.REDIS_URL = url
    settings.REDIS_TIMEOUT_SECONDS = 1  # a busy machine is not a silent Redis
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": url}}
    yield url
    Outages.end()


def move_slot(cluster: RedisCluster, key: str) -> tuple[Daemon, Daemon]:
    """Move an empty slot. Returns its masters before and after.

    IMPORTING lets the new master raise its epoch. Otherwise the old one, asked a moment later, may claim the slot back.
    """
    before = cluster.owner_of(key)
    after = next(node for node in cluster.nodes if node is not before)
    slot, name = ask_node(after, "CLUSTER KEYSLOT", key), ask_node(after, "CLUSTER MYID")
    ask_node(after, "CLUSTER SETSLOT", slot, "IMPORTING", ask_node(before, "CLUSTER MYID"))
    for each in ask_node(before, "CLUSTER GETKEYSINSLOT", slot, 1000):
        ask_node(before, "DEL", each)
    for node in [after, *(each for each in cluster.nodes if each is not after)]:
        ask_node(node, "CLUSTER SETSLOT", slot, "NODE", name)
    return before, after


def test_service_follows_its_keys(cluster: RedisCluster, database_environment: dict[str, str]) -> None:
    make_offer()
    url = seed_without(cluster, PROBE_KEY)
    settings = {"RATE_LIMIT_ANONYMOUS": "1000/3600", "REDIS_HASH_TAGS": "1"}
    with running(database_environment, REDIS_URL=url, **settings) as server:
        # Until both processes use the right node.
        wait_until(lambda: all(server.request("/categories").headers["x-cache"] == "hit" for _ in range(12)))
        assert server.request("/products").headers["x-cache"] == "miss"
        assert server.request("/readyz").json["checks"]["redis"] == "up"
    with redis.Redis.from_url(cluster.owner_of(PROBE_KEY).url) as owner:
        assert len(owner.keys("*:limit:*")) == 1
        assert len(owner.keys("*:page:*")) == 2
        assert owner.keys("*:traffic:60:*")  # from the reports at the end of the processes


def test_masters_share_the_commands(cluster: RedisCluster, database_environment: dict[str, str]) -> None:
    make_offer()
    settings = {"REDIS_HASH_TAGS": "3", "RATE_LIMIT_ANONYMOUS": "1000/3600", "TRUSTED_PROXY_HOPS": "1"}
    with running(database_environment, REDIS_URL=cluster.url, **settings) as server:
        before = cluster.command_counts()
        for visit in range(300):
            target = f"/products?limit={visit % 50 + 1}"
            assert server.request(target, X_Forwarded_For=f"192.0.2.{visit % 100}").status == 200
        counts = cluster.command_counts()
        assert not server.has_logged("redis_unavailable")
    new = [counts[node] - before[node] for node in counts]
    # One request at a time is the worst case: each reads the generation, and none shares that command.
    assert min(new) > 0.15 * sum(new), new
    assert max(new) < 0.7 * sum(new), new


def test_threads_follow_a_moved_slot_within_a_call(cluster: RedisCluster, on_cluster: str) -> None:
    assert run(WRITE, [OTHER_KEYS[0]]) == 1
    losses = Outages.losses
    _, after = move_slot(cluster, OTHER_KEYS[0])
    assert run(WRITE, [OTHER_KEYS[0]]) == 1
    assert Outages.losses > losses  # so that the generation ends
    assert not Outages.is_away
    with redis.Redis.from_url(after.url) as node:
        assert node.get(OTHER_KEYS[0]) == b"1"


def test_django_cache_and_locks_work_on_a_cluster(cluster: RedisCluster, on_cluster: str) -> None:
    cache = caches["default"]
    cache.set("some", "thing", 10)
    assert cache.get("some") == "thing"
    assert cache.add("counter", 0)
    assert cache.incr("counter") == 1
    lock = try_lock("a", 10)
    assert lock
    move_slot(cluster, PROBE_KEY)
    assert try_lock("a", 10)  # the slot was emptied
    assert try_lock("a", 10) is None
    release(lock)
    assert not Outages.is_away


def test_event_loop_greets_the_server_that_got_its_keys(cluster: RedisCluster, on_cluster: str) -> None:
    """Its generation may be an old one there."""
    generation = f"{scripts.HASH_TAG}:test-generation"

    async def work() -> None:
        edge = AsyncClient(on_cluster, [WRITE], Call(DELETE_KEY, [generation]))
        try:
            await _until_it_answers(edge, PROBE_KEY)
            assert await edge.run(WRITE, [generation], []) == 1
            assert await asyncio.gather(*(edge.run(WRITE, [generation], []) for _ in range(50))) == [*range(2, 52)]
            _, after = move_slot(cluster, PROBE_KEY)
            with redis.Redis.from_url(after.url) as node:
                node.set(generation, "7")
            await _until_it_answers(edge, generation)
            with redis.Redis.from_url(after.url) as node:
                assert node.get(generation) == b"1"
        finally:
            await edge.close()

    uvloop.run(work())


async def _until_it_answers(edge: AsyncClient, key: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await edge.run(WRITE, [key], [])
            except redis.RedisError:
                await asyncio.sleep(0.02)
            else:
                return


def test_keys_on_several_masters_have_a_connection_each(
    cluster: RedisCluster, on_cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("client", "async_client"):
        monkeypatch.setattr(f"farmlokal.redis.{module}.PROBE_KEYS", [PROBE_KEY, *OTHER_KEYS])

    async def work() -> None:
        edge = AsyncClient(on_cluster, [], Call(DELETE_KEY, [PROBE_KEY]))
        try:
            await _until_it_answers(edge, PROBE_KEY)
            await asyncio.gather(*(edge.run(WRITE, [key], []) for key in OTHER_KEYS))
        finally:
            await edge.close()

    uvloop.run(work())
    assert len(client.key_of_each_server()) == 3
    assert redis_numbers()["Version"]
    results = list(doctor.examine())
    assert [result.level for result in results if result.name == "redis"] == ["ok"] * 3


@pytest.mark.usefixtures("on_cluster")
def test_two_moves_of_a_key_do_not_blame_a_right_url() -> None:
    assert client.describe(redis.exceptions.MovedError("3999 127.0.0.1:6381")) == "these keys are at 127.0.0.1:6381"


def test_plain_url_to_a_cluster_is_named_as_the_mistake(
    cluster: RedisCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PROBE_KEYS", [PROBE_KEY])
    other = next(node for node in cluster.nodes if node is not cluster.owner_of(PROBE_KEY))
    settings.REDIS_URL = other.url
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": other.url}}
    with pytest.raises(redis.RedisError):
        ask(DELETE_KEY, [PROBE_KEY])
    (result,) = doctor.examine()
    assert "the REDIS_URL of a cluster begins with redis+cluster://" in result.text
