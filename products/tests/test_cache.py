"""Pages of the catalogue in Redis are valid until the next write, for several processes, some of which die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import combinations
from typing import Any

import pytest
import redis
from django.db import OperationalError, connection, transaction
from django.db.utils import IntegrityError
from django.http import HttpResponse
from django.test import Client
from pytest_django.fixtures import Settings

from dev.testing.databases import one_mysql
from dev.testing.offers import make_offer
from dev.testing.redis_keys import forget_keys, own_keys, shared_redis
from dev.testing.servers import Daemon
from dev.testing.waiting import wait_until
from farmlokal.http.representations import Representation
from farmlokal.page_cache import cache
from farmlokal.page_cache.pages import Page, unpacked
from farmlokal.redis.client import ask, run
from farmlokal.redis.scripts import spread_key
from products import services
from products.catalogue_cache import LASTING, SHORT, catalogue_cache
from products.idempotency import answer_once
from products.listing.parameters import ALL_FIELDS
from products.models import Category, IdempotencyKey, Posting, Product
from products.search.reindexing import reindex

pytestmark = pytest.mark.usefixtures("live_database")

BODY = Representation.of(b'{"results": []}', '<https://api.example/products?cursor=x>; rel="next"')
KEY = spread_key("page", "of-a-test")

GENERATION, WRITERS = catalogue_cache.generation_key, catalogue_cache.writers_key


@pytest.fixture(autouse=True)
def in_redis() -> Iterator[redis.Redis]:
    with shared_redis() as client:
        forget_keys()
        yield client


@pytest.fixture
def product(live_database: None) -> Iterator[Product]:
    made = make_offer()
    yield made
    made.delete()


def results(times: int = 1) -> list[str]:
    return [catalogue_cache.get(KEY, lambda: BODY, LASTING).result for _ in range(times)]


def test_packed_page_is_unpacked_unchanged() -> None:
    page = Page(BODY, "123", 5.0)
    assert unpacked(b"123 999\n" + page.packed(), 5000) == page
    plain = Page(Representation.of(b"{}\n\n", gzips=False), "1", 0.0)
    assert unpacked(b"1 9\n" + plain.packed()) == plain


def test_page_is_a_miss_and_then_a_hit() -> None:
    assert results(3) == ["miss", "hit", "hit"]


def test_every_commit_ends_the_generation(product: Product) -> None:
    fruits = Category.objects.get(slug="fruits")
    for write in (
        lambda: services.change(product.pk, price=product.price + 1),
        lambda: make_offer(name="Another").delete(),
        fruits.save,
        product.farm.save,
        lambda: reindex(Product.objects.filter(pk=product.pk), Posting.objects.all()),
    ):
        results()
        assert results() == ["hit"]
        write()
        assert results(2) == ["miss", "hit"], write


def test_rollback_does_not_end_the_generation(product: Product, in_redis: redis.Redis) -> None:
    results()
    state = in_redis.get(GENERATION)
    with transaction.atomic():
        services.change(product.pk, price=product.price + 1)
        assert in_redis.get(GENERATION) == state
        transaction.set_rollback(True)
    assert (in_redis.get(GENERATION), in_redis.zcard(WRITERS)) == (state, 0)
    with pytest.raises(IntegrityError), transaction.atomic():
        Category(name="Fruits", slug="fruits").save()
    assert (in_redis.get(GENERATION), in_redis.zcard(WRITERS)) == (state, 0)


def test_rolled_back_savepoint_leaves_the_other_writes_announced(product: Product, in_redis: redis.Redis) -> None:
    with transaction.atomic():
        with transaction.atomic():
            services.change(product.pk, price=product.price + 1)
            transaction.set_rollback(True)
        services.change(product.pk, price=product.price + 2)
        results()
    assert in_redis.zcard(WRITERS) == 0
    assert results() == ["miss"]


def test_transaction_bypasses_the_cache() -> None:
    results()
    with transaction.atomic():
        assert results(2) == ["bypass", "bypass"]
    assert results() == ["hit"]


def test_page_that_was_read_before_a_write_is_not_valid_after_it(product: Product) -> None:
    def make() -> Representation:
        writer = threading.Thread(target=write)
        writer.start()
        writer.join()
        return BODY

    def write() -> None:
        services.change(product.pk, price=product.price + 1)
        connection.close()

    assert catalogue_cache.get(KEY, make, LASTING).result == "miss"
    assert results() == ["miss"]


def test_dead_writer_stops_caching_until_it_expires(in_redis: redis.Redis) -> None:
    results()
    run(cache.ANNOUNCE, [GENERATION, WRITERS], [0, "died", 60])
    assert results(2) == ["bypass", "bypass"]
    in_redis.zadd(WRITERS, {"died": 0})  # its time is over
    assert results(2) == ["miss", "hit"]
    assert in_redis.zcard(WRITERS) == 0


def test_stale_page_is_served_while_another_process_renders(in_redis: redis.Redis) -> None:
    old = LASTING._replace(fresh=0)
    assert catalogue_cache.get(KEY, lambda: BODY, old).result == "miss"
    assert catalogue_cache.look_up(KEY, "someone else").is_locked
    assert results(2) == ["stale", "stale"]
    in_redis.delete(f"{KEY}:lock")
    assert results(2) == ["miss", "hit"]


def test_failed_page_releases_its_lock() -> None:
    def fail() -> Representation:
        raise LookupError

    with pytest.raises(LookupError):
        catalogue_cache.get(KEY, fail, LASTING)
    assert results() == ["miss"]


@pytest.mark.parametrize(("left", "is_served"), [(60, True), (-59, True), (-61, False)])
def test_local_copy_is_served_while_mysql_is_away(left: int, is_served: bool) -> None:
    def fail() -> Representation:
        raise OperationalError(2003, "Can't connect to MySQL server")

    held = Page(BODY, "of a state that has ended", left)
    with nullcontext() if is_served else pytest.raises(OperationalError):
        found = catalogue_cache.get(KEY, fail, SHORT, held)
        assert found == (KEY, Page(BODY, "", left), "stale")


def test_lock_of_a_dead_process_expires(in_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LOCK_SECONDS", 30)
    assert catalogue_cache.look_up(KEY, "died").is_locked
    assert not catalogue_cache.look_up(KEY, "another").is_locked
    assert 0 < in_redis.pttl(f"{KEY}:lock") <= 30_000
    in_redis.pexpire(f"{KEY}:lock", 300)
    assert results() == ["miss"]


def test_late_process_stores_no_page(in_redis: redis.Redis) -> None:
    def make() -> Representation:
        in_redis.set(f"{KEY}:lock", "another")  # after ours expired
        return BODY

    catalogue_cache.get(KEY, make, LASTING)
    assert in_redis.get(KEY) is None
    assert in_redis.get(f"{KEY}:lock") == b"another"


def test_too_large_page_is_not_stored(in_redis: redis.Redis) -> None:
    large = Representation.of(os.urandom(cache.MAX_PAGE_BYTES))
    assert catalogue_cache.get(KEY, lambda: large, LASTING).result == "miss"
    assert in_redis.get(KEY) is None


def lifetimes(client: redis.Redis) -> list[int]:
    """Seconds, of all pages in Redis."""
    return [client.ttl(name) for name in own_keys(client, ":page:")]


@pytest.mark.parametrize(
    ("query", "longest"),
    [
        ("", 4300),
        ("?limit=25", 4300),
        ("?limit=025&fields=" + ",".join(ALL_FIELDS), 4300),  # the same page as without them
        ("?sort=price&category=fruits&organic=true", 4300),
        ("?q=a", 260),
        ("?price_min=3", 260),
        ("?limit=100", 260),
        ("?fields=name", 260),
    ],
)
def test_rare_pages_have_a_short_lifetime(client: Client, in_redis: redis.Redis, query: str, longest: int) -> None:
    client.get(f"/products{query}")
    (kept,) = lifetimes(in_redis)
    assert longest - 200 < kept <= longest


def test_combinations_of_fields_and_limits_expire_in_minutes(
    client: Client, product: Product, in_redis: redis.Redis
) -> None:
    for fields in combinations(ALL_FIELDS[1:], 2):
        client.get(f"/products?limit=100&fields={','.join(fields)}")
    for limit in range(1, 21):
        client.get(f"/products?limit={limit}")
    found = lifetimes(in_redis)
    assert len(found) == len(list(combinations(ALL_FIELDS[1:], 2))) + 20
    assert max(found) <= 260


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("?limit=25&sort=-created_at", ""),
        ("?sort=price&category=spices&category=fruits", "?category=fruits&category=spices&sort=price"),
        ("?q=%20Ripe%20%20MANGO", "?q=ripe+mango"),
        ("?price_min=4.5&farm=007", "?farm=7&price_min=4.50"),
        ("?fields=price,id,name", "?fields=name,price"),
        ("?fields=price&fields=name", "?fields=name,price"),
        ("?ids=3,1,3", "?ids=3,1"),
        ("?ids=3&ids=1,2&fields=name&fields=price", "?fields=price,name&ids=3,1,2"),
    ],
)
def test_equivalent_queries_share_a_page(client: Client, one: str, other: str) -> None:
    assert [client.get(f"/products{query}")["X-Cache"] for query in (one, other)] == ["miss", "hit"]


def test_hosts_do_not_share_pages(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert [client.get("/products", headers={"Host": host})["X-Cache"] for host in ("a", "b", "a")] == [
        *("miss", "miss", "hit")
    ]


def test_coalescing_keeps_a_generation_after_a_write(
    settings: Settings, product: Product, client: Client, in_redis: redis.Redis
) -> None:
    settings.PAGE_COALESCE_SECONDS = 60
    url = f"/products?ids={product.pk}"
    assert client.get(url)["X-Cache"] == "miss"
    for rupees in (1, 2, 3):
        services.change(product.pk, price=product.price + rupees)
        assert client.get(url)["X-Cache"] == "hit"
    assert 0 < in_redis.pttl(GENERATION) <= 60_000
    in_redis.delete(GENERATION)  # its time is over
    assert client.get(url).json()["results"][0]["price"] == f"{product.price + 3:.2f}"


def test_coalescing_ends_the_generation_of_a_dead_writer_too(settings: Settings, in_redis: redis.Redis) -> None:
    settings.PAGE_COALESCE_SECONDS = 0.2
    run(cache.ANNOUNCE, [GENERATION, WRITERS], [200, "died", 10])
    results()
    assert 0 < in_redis.pttl(GENERATION) <= 200


def test_dead_writer_does_not_outlast_a_clock_set_back(product: Product, client: Client, in_redis: redis.Redis) -> None:
    run(cache.ANNOUNCE, [GENERATION, WRITERS], [0, "died an hour ahead", 3600 + 10])
    url = f"/products?ids={product.pk}"
    assert [client.get(url)["X-Cache"] for _ in range(2)] == ["miss", "hit"]


def test_failed_commit_without_redis_is_a_pending_invalidation(redis_alone: Daemon) -> None:
    """The database may have carried out the commit, although its answer was lost."""
    redis_alone.freeze()
    with pytest.raises(OperationalError), catalogue_cache._announced():
        raise OperationalError(2013, "Lost connection")
    assert catalogue_cache.pending.is_pending
    redis_alone.thaw()
    wait_until(lambda: not catalogue_cache.pending.is_pending)


def test_write_during_an_invalidation_needs_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []

    def ask_during_a_write(*args: Any) -> Any:
        answers.append(ask(*args))
        if len(answers) == 1:
            catalogue_cache.pending.add_write()
        return answers[-1]

    monkeypatch.setattr("farmlokal.redis.client.ask", ask_during_a_write)
    catalogue_cache.pending.add_write()
    wait_until(lambda: not catalogue_cache.pending.is_pending)
    assert len(answers) == 2


def test_replayed_answer_ends_the_generation() -> None:
    """The first commit may have come after its announcement expired."""

    def create() -> HttpResponse:
        return answer_once("a test", KEY, {}, lambda: HttpResponse(headers={"Location": "/", "ETag": '"1"'}))

    create()
    assert results(2) == ["miss", "hit"]
    assert create()["Idempotent-Replayed"] == "true"
    assert results() == ["miss"]
    IdempotencyKey.objects.all().delete()


# Several processes

STAMPEDE = """
import sys, threading, time, django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.test import Client
from django.db import connection
from farmlokal.observability import request_costs
from farmlokal.redis.client import Outages
barrier = threading.Barrier(16)
def prepare(_):
    connection.ensure_connection()
    connection.mysql_server_data  # a statement of each new connection
    call(_)  # statements of each new process
    while Outages.is_away:  # until the process has found its Redis
        time.sleep(0.01)
    barrier.wait()
def call(_):
    response = Client(headers={"Host": "localhost"}).get("/products")
    assert response.status_code == 200, response.content
    return f"{response['X-Cache']}:{request_costs.current.statements}"
with ThreadPoolExecutor(16) as callers:
    list(callers.map(prepare, range(16)))
    print("ready", flush=True)
    sys.stdin.readline()
    found = list(callers.map(call, range(16)))
print(" ".join(found))
"""


@contextmanager
def processes(environment: dict[str, str], code: str, number: int) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-c", code]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # The longest timeout: 64 threads on a busy machine are slow, and Redis is not silent.
    settings = {"DJANGO_SETTINGS_MODULE": "farmlokal.settings", "LOG_LEVEL": "ERROR", "REDIS_TIMEOUT_SECONDS": "1"}
    started = [subprocess.Popen(command, env=environment | settings, **pipes) for _ in range(number)]
    try:
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def stampede(environment: dict[str, str], disturb: Callable[[], None] = lambda: None) -> tuple[list[str], int]:
    """64 simultaneous requests of four processes for a missing page: their X-Cache, and the number of statements."""
    with processes(environment, STAMPEDE, 4) as started:
        forget_keys()
        disturb()
        for process in started:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [answer for process in started for answer in process.communicate(timeout=60)[0].split()]
    found = [answer.split(":") for answer in answers]
    return [result for result, _ in found], sum(int(statements) for _, statements in found)


@one_mysql
def test_64_requests_for_a_missing_page_are_one_statement(database_environment: dict[str, str]) -> None:
    found, statements = stampede(database_environment)
    assert (Counter(found), statements) == ({"miss": 1, "hit": 63}, 1)
    assert statements == 1


HOLDER = """
import sys, time, django
django.setup()
from farmlokal.observability import request_costs
from farmlokal.http.representations import Representation
from django.test import Client
def dies_in_the_middle(body, link="", **more):
    print("holding", request_costs.current.statements, flush=True)
    time.sleep(60)
client = Client(headers={"Host": "localhost"})
client.get("/products")  # statements of each new process
Representation.of = dies_in_the_middle
print("ready", flush=True)
sys.stdin.readline()
client.get("/products")
"""


@one_mysql
def test_page_of_a_killed_process_is_rendered_by_another(database_environment: dict[str, str]) -> None:
    with processes(database_environment, HOLDER, 1) as (holder,):

        def hold_and_die() -> None:
            assert holder.stdin
            assert holder.stdout
            holder.stdin.write("go\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "holding 1\n"
            os.kill(holder.pid, signal.SIGKILL)

        found, statements = stampede(database_environment, hold_and_die)
    assert (len(found), found.count("miss")) == (64, 1)
    assert statements == 1  # and one by the killed process
