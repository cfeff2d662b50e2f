"""With several hash tags, the nodes of a Redis Cluster share the keys, and no script needs keys of two tags."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
import redis
import uvloop
from pytest_django.fixtures import Settings
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

from dev.testing.servers import Daemon, free_port, own_redis
from dev.testing.waiting import wait_until
from farmlokal.edge.batching import SCRIPTS, Admission, Admissions
from farmlokal.edge.shares import LimitedClient
from farmlokal.http.representations import Representation
from farmlokal.page_cache.cache import lock_of
from farmlokal.page_cache.keys import page_key
from farmlokal.ratelimit import limiter
from farmlokal.ratelimit.limiter import Policy
from farmlokal.redis import scripts
from farmlokal.redis.async_client import AsyncClient
from farmlokal.redis.client import Outages, ask
from farmlokal.redis.hash_tags import dealt, hash_tags
from farmlokal.redis.scripts import DELETE_KEY, HASH_TAG, PROBE_KEY, Call, Script, key, spread_key, tag_of
from integrations.webhooks import claims
from products.catalogue_cache import LASTING, catalogue_cache

pytestmark = pytest.mark.usefixtures("live_database")  # with replicas, a page asks the primary for its position

TAGS = 3
PAGE, NEWER_PAGE = Representation.of(b'{"results": []}'), Representation.of(b'{"results": [1]}')
POLICY = Policy("test", 5, 60)


@pytest.fixture
def tags(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """This process uses three hash tags."""
    three = hash_tags(HASH_TAG, TAGS)
    monkeypatch.setattr(scripts, "DEALT_TAGS", dealt(three))
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


def test_without_the_setting_all_keys_share_one_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "DEALT_TAGS", dealt(hash_tags(HASH_TAG, 1)))
    assert {tag_of(spread_key("limit", f"client-{number}")) for number in range(50)} == {HASH_TAG}
    assert spread_key("limit", "test", "192.0.2.1") == key("limit", "test", "192.0.2.1")


def test_names_are_spread_evenly_but_for_the_tag_of_the_state(tags: list[str]) -> None:
    counts = Counter(tag_of(limiter.key_of(POLICY, f"192.0.{n // 250}.{n % 250}")) for n in range(3000))
    assert [round(counts[tag] / 3000, 1) for tag in tags] == [0.3, 0.4, 0.4]  # 3, 4 and 4 of 11


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


# The edge, in an event loop of this process


def in_edge(server: Daemon, work: Callable[[Admissions], Awaitable[None]]) -> None:
    async def go() -> None:
        edge = AsyncClient(server.url, SCRIPTS, Call(DELETE_KEY, [PROBE_KEY]))
        try:
            await work(Admissions(edge))
        finally:
            await edge.close()

    uvloop.run(go())


async def look_up(admissions: Admissions, pages: Iterable[str], client: LimitedClient | None = None) -> list[Admission]:
    """In one batch."""
    return await asyncio.gather(*(admissions.ask(client, page) for page in pages))


async def store(pages: Iterable[str], body: Representation = PAGE) -> None:
    """As a thread of Django does."""
    for page in pages:
        await asyncio.to_thread(catalogue_cache.get, page, lambda: body, LASTING)


async def write() -> None:
    await asyncio.to_thread(catalogue_cache.announce_write)


def locks(client: redis.Redis) -> set[str]:
    return {name.decode() for name in client.scan_iter("*:lock")}


def bodies(admissions: Iterable[Admission]) -> list[bytes]:
    return [one.lookup.page.representation.identity for one in admissions if one.lookup and one.lookup.page]


def test_batch_costs_one_command_for_each_tag_it_needs(
    cluster: Daemon, on_cluster: redis.Redis, tags: list[str]
) -> None:
    async def work(admissions: Admissions) -> None:
        pages = pages_by_tag(tags)
        await store(pages.values())
        first = await look_up(admissions, pages.values())
        assert sum(one.commands for one in first) == TAGS + TAGS - 1  # this process did not know the generation
        for needed in ([], [tags[1]], tags[1:], [tags[0]]):
            found = await look_up(admissions, [pages[tag] for tag in needed] or [""])
            assert sum(one.commands for one in found) == len({tags[0], *needed})
            assert {one.lookup.result for one in found if one.lookup} == ({"hit"} if needed else set())

    in_edge(cluster, work)


def test_edge_finds_pages_of_a_generation_that_began_meanwhile(
    cluster: Daemon, on_cluster: redis.Redis, tags: list[str]
) -> None:
    async def work(admissions: Admissions) -> None:
        pages = pages_by_tag(tags).values()
        await store(pages)
        await look_up(admissions, pages)
        await write()
        await store(pages, NEWER_PAGE)
        assert bodies(await look_up(admissions, pages)) == [NEWER_PAGE.identity] * TAGS
        await until(lambda: not locks(on_cluster))  # of the pages that the ended generation lacks

    in_edge(cluster, work)


def test_edge_serves_no_page_of_an_ended_generation(cluster: Daemon, on_cluster: redis.Redis, tags: list[str]) -> None:
    async def work(admissions: Admissions) -> None:
        pages = pages_by_tag(tags).values()
        await store(pages)
        for _ in range(70):  # with three tags, 210 reads
            assert len(bodies(await look_up(admissions, pages))) == TAGS
            await write()
            found = await look_up(admissions, pages)
            assert bodies(found) == []
            assert all(one.lookup and one.lookup.is_locked for one in found)
            for page in pages:
                on_cluster.delete(lock_of(page))
            await store(pages)

    in_edge(cluster, work)


def test_edge_takes_no_lock_while_a_writer_commits(cluster: Daemon, on_cluster: redis.Redis, tags: list[str]) -> None:
    async def work(admissions: Admissions) -> None:
        pages = pages_by_tag(tags).values()
        await look_up(admissions, [""])  # the process believes in a generation
        on_cluster.delete(catalogue_cache.generation_key)
        on_cluster.zadd(catalogue_cache.writers_key, {"writer": on_cluster.time()[0] * 1e6 + 5e6})
        for one in await look_up(admissions, pages):
            assert one.lookup
            assert (one.lookup.page, one.lookup.generation, one.lookup.is_locked) == (None, "", False)
        await until(lambda: not locks(on_cluster))

    in_edge(cluster, work)


def test_refused_call_holds_no_lock_under_any_tag(cluster: Daemon, on_cluster: redis.Redis, tags: list[str]) -> None:
    async def work(admissions: Admissions) -> None:
        pages, client = pages_by_tag(tags), (Policy("once", 1, 3600), "192.0.2.1")
        await look_up(admissions, [""], client)
        for one in await look_up(admissions, pages.values(), client):
            assert one.decision
            assert one.decision.is_refused
            assert one.lookup is None
        await until(lambda: not locks(on_cluster))
        elsewhere = next(page for tag, page in pages.items() if tag != tag_of(limiter.key_of(*client)))
        refused, admitted = await asyncio.gather(admissions.ask(client, elsewhere), admissions.ask(None, elsewhere))
        assert refused.lookup is None
        assert admitted.lookup
        assert admitted.lookup.is_locked

    in_edge(cluster, work)


async def until(is_done: Callable[[], bool]) -> None:
    async with asyncio.timeout(2):  # a lock lasts for 3 s
        while not is_done():
            await asyncio.sleep(0.01)
