"""The catalogue's state, and pages that are believed while it lasts: by several processes, some of which die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.db import OperationalError, connection, transaction
from django.db.utils import IntegrityError
from django.http import HttpResponse

from dev.testing.offers import make_offer
from dev.testing.waiting import wait_until
from farmlokal.http.representations import Representation
from farmlokal.page_cache import cache
from farmlokal.page_cache.pages import Page, unpacked
from farmlokal.redis.client import ask, run
from farmlokal.redis.scripts import key
from products import services
from products.idempotency import answer_once
from products.listing.projection import ALL
from products.models import Category, IdempotencyKey, Product
from products.page_cache import LASTING, SHORT, catalogue_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client
    from pytest_django.fixtures import Settings

    from dev.testing.servers import Daemon

pytestmark = pytest.mark.usefixtures("live_database")

BODY = Representation.of(b'{"results": []}', '<https://api.example/products?cursor=x>; rel="next"')
KEY = key("page", "of-a-test")

GENERATION, WRITERS = catalogue_cache.generation_key, catalogue_cache.writers_key


@pytest.fixture(autouse=True)
def in_redis() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client


@pytest.fixture
def product(live_database: None) -> Iterator[Product]:
    made = make_offer()
    yield made
    made.delete()


def results(times: int = 1) -> list[str]:
    return [catalogue_cache.get(KEY, lambda: BODY, LASTING).result for _ in range(times)]


def test_a_page_is_what_it_was() -> None:
    page = Page(BODY, "123", 5.0)
    assert unpacked(b"123 999\n" + page.packed(), 5000) == page
    plain = Page(Representation.of(b"{}\n\n", gzips=False), "1", 0.0)
    assert unpacked(b"1 9\n" + plain.packed()) == plain


def test_missed_once_and_then_hit() -> None:
    assert results(3) == ["miss", "hit", "hit"]


def test_any_commit_ends_the_state(product: Product) -> None:
    fruits = Category.objects.get(slug="fruits")
    for write in (
        lambda: services.change(product.pk, price=product.price + 1),
        lambda: make_offer(name="Another").delete(),
        fruits.save,
        product.farm.save,
        Product.objects.filter(pk=product.pk).reindex,
    ):
        results()
        assert results() == ["hit"]
        write()
        assert results(2) == ["miss", "hit"], write


def test_nothing_is_announced_before_the_commit_and_nothing_by_a_rollback(
    product: Product, in_redis: redis.Redis
) -> None:
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


def test_a_rolled_back_part_of_a_transaction_leaves_the_rest_announced(product: Product, in_redis: redis.Redis) -> None:
    with transaction.atomic():
        with transaction.atomic():
            services.change(product.pk, price=product.price + 1)
            transaction.set_rollback(True)
        services.change(product.pk, price=product.price + 2)
        results()
    assert in_redis.zcard(WRITERS) == 0
    assert results() == ["miss"]


def test_a_transaction_reads_its_own_rows_and_keeps_them_to_itself() -> None:
    results()
    with transaction.atomic():
        assert results(2) == ["bypass", "bypass"]
    assert results() == ["hit"]


def test_a_page_that_was_begun_before_a_write_is_not_believed_after_it(product: Product) -> None:
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


def test_a_writer_that_died_is_believed_to_have_committed(in_redis: redis.Redis) -> None:
    results()
    run(cache.ANNOUNCE, [GENERATION, WRITERS], [0, "died", 1])
    assert results(2) == ["bypass", "bypass"]
    time.sleep(1.1)
    assert results(2) == ["miss", "hit"]
    assert in_redis.zcard(WRITERS) == 0


def test_a_page_older_than_its_time_is_served_while_one_process_makes_a_new_one(in_redis: redis.Redis) -> None:
    old = LASTING._replace(fresh=0)
    assert catalogue_cache.get(KEY, lambda: BODY, old).result == "miss"
    assert catalogue_cache.look(KEY, "someone else").is_locked
    assert results(2) == ["stale", "stale"]
    in_redis.delete(f"{KEY}:lock")
    assert results(2) == ["miss", "hit"]


def test_a_page_that_fails_frees_its_lock() -> None:
    def fail() -> Representation:
        raise LookupError

    with pytest.raises(LookupError):
        catalogue_cache.get(KEY, fail, LASTING)
    assert results() == ["miss"]


@pytest.mark.parametrize(("left", "is_served"), [(60, True), (-59, True), (-61, False)])
def test_without_mysql_what_this_process_holds_is_served_while_pages_are_kept(left: int, is_served: bool) -> None:
    def fail() -> Representation:
        raise OperationalError(2003, "Can't connect to MySQL server")

    held = Page(BODY, "of a state that has ended", left)
    with nullcontext() if is_served else pytest.raises(OperationalError):
        found = catalogue_cache.get(KEY, fail, SHORT, held)
        assert found == (KEY, Page(BODY, "", left), "stale")


def test_who_finds_a_dead_process_s_lock_takes_over_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LOCK_SECONDS", 1)
    assert catalogue_cache.look(KEY, "died").is_locked
    start = time.monotonic()
    assert results() == ["miss"]
    assert 0.8 < time.monotonic() - start < 2.5


def test_a_late_maker_keeps_nothing(in_redis: redis.Redis) -> None:
    def make() -> Representation:
        in_redis.set(f"{KEY}:lock", "another")  # whose turn it is since ours is over
        return BODY

    catalogue_cache.get(KEY, make, LASTING)
    assert in_redis.get(KEY) is None
    assert in_redis.get(f"{KEY}:lock") == b"another"


def test_what_is_too_large_is_not_kept(in_redis: redis.Redis) -> None:
    large = Representation.of(os.urandom(cache.MAX_PAGE_BYTES))
    assert catalogue_cache.get(KEY, lambda: large, LASTING).result == "miss"
    assert in_redis.get(KEY) is None


def lifetimes(client: redis.Redis) -> list[int]:
    """Of all pages that Redis has, in seconds."""
    return [client.ttl(name) for name in client.keys("*:page:*")]


@pytest.mark.parametrize(
    ("query", "longest"),
    [
        ("", 4300),
        ("?limit=25", 4300),
        ("?limit=025&fields=" + ",".join(ALL), 4300),  # the same page as without them
        ("?sort=price&category=fruits&organic=true", 4300),
        ("?q=a", 260),
        ("?price_min=3", 260),
        ("?limit=100", 260),
        ("?fields=name", 260),
    ],
)
def test_rarely_asked_pages_have_a_short_lifetime(
    client: Client, in_redis: redis.Redis, query: str, longest: int
) -> None:
    client.get(f"/products{query}")
    (kept,) = lifetimes(in_redis)
    assert longest - 200 < kept <= longest


def test_combinations_of_fields_and_limits_fill_redis_for_minutes_only(
    client: Client, product: Product, in_redis: redis.Redis
) -> None:
    for fields in combinations(ALL[1:], 2):
        client.get(f"/products?limit=100&fields={','.join(fields)}")
    for limit in range(1, 21):
        client.get(f"/products?limit={limit}")
    found = lifetimes(in_redis)
    assert len(found) == len(list(combinations(ALL[1:], 2))) + 20
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
def test_queries_that_mean_the_same_share_a_page(client: Client, one: str, other: str) -> None:
    assert [client.get(f"/products{query}")["X-Cache"] for query in (one, other)] == ["miss", "hit"]


def test_hosts_do_not_share_one(client: Client, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert [client.get("/products", headers={"Host": host})["X-Cache"] for host in ("a", "b", "a")] == [
        *("miss", "miss", "hit")
    ]


def test_with_coalescing_a_state_outlives_writes_and_the_last_of_them_is_seen(
    settings: Settings, product: Product, client: Client
) -> None:
    settings.PAGE_COALESCE_SECONDS = 0.5
    url, found = f"/products?ids={product.pk}", []
    stop = time.monotonic() + 3
    price = product.price
    while time.monotonic() < stop:
        price += 1
        services.change(product.pk, price=price)
        found += [client.get(url)["X-Cache"] for _ in range(20)]
    assert found.count("hit") > 0.9 * len(found)
    time.sleep(0.6)
    assert client.get(url).json()["results"][0]["price"] == f"{price:.2f}"


def test_a_writer_that_died_under_coalescing_is_seen_too(settings: Settings, in_redis: redis.Redis) -> None:
    settings.PAGE_COALESCE_SECONDS = 0.2
    run(cache.ANNOUNCE, [GENERATION, WRITERS], [200, "died", 10])
    results()
    assert 0 < in_redis.pttl(GENERATION) <= 200


def test_a_commit_that_fails_while_redis_is_silent_is_a_debt(redis_alone: Daemon) -> None:
    """Announced to nobody, and its answer lost: it may be there."""
    redis_alone.freeze()
    with pytest.raises(OperationalError), catalogue_cache._announced():
        raise OperationalError(2013, "Lost connection")
    assert catalogue_cache.pending.is_pending
    redis_alone.thaw()
    wait_until(lambda: not catalogue_cache.pending.is_pending)


def test_what_is_owed_while_a_debt_is_paid_is_paid_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is told - another write goes by unheard - the debt is thought to be paid."""
    told = []

    def tell(*args: Any) -> Any:
        told.append(ask(*args))
        if len(told) == 1:
            catalogue_cache.pending.add_write()
        return told[-1]

    monkeypatch.setattr("farmlokal.redis.client.ask", tell)
    catalogue_cache.pending.add_write()
    wait_until(lambda: not catalogue_cache.pending.is_pending)
    assert len(told) == 2


def test_an_answer_that_is_given_again_ends_the_state() -> None:
    """Its first commit may have come later than its announcement lasts, with nobody there to hear of it."""

    def create() -> HttpResponse:
        return answer_once("a test", KEY, {}, lambda: HttpResponse(headers={"Location": "/", "ETag": '"1"'}))

    create()
    assert results(2) == ["miss", "hit"]
    assert create()["Idempotent-Replayed"] == "true"
    assert results() == ["miss"]
    IdempotencyKey.objects.all().delete()


# Several processes

STAMPEDE = """
import sys, threading, django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from django.test import Client
from django.db import connection
from farmlokal.observability import request_costs
everybody = threading.Barrier(16)
def prepare(_):
    connection.ensure_connection()
    connection.mysql_server_data  # which a new connection asks for once
    call(_)  # and what a process reads once
    everybody.wait()
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
    settings = {"DJANGO_SETTINGS_MODULE": "farmlokal.settings", "ACCESS_LOG": "off", "LOG_LEVEL": "ERROR"}
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
    """(X-Cache of 64 requests at once of four processes for one page that is missing, their statements)."""
    with processes(environment, STAMPEDE, 4) as started:
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
            client.flushdb()
        disturb()
        for process in started:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [said for process in started for said in process.communicate(timeout=60)[0].split()]
    found = [result.split(":") for result in said]
    return [result for result, _ in found], sum(int(statements) for _, statements in found)


def test_many_requests_for_one_missing_page_are_one_statement(database_environment: dict[str, str]) -> None:
    found, statements = stampede(database_environment)
    assert (len(found), found.count("miss"), found.count("hit")) == (64, 1, 63)
    assert statements == 1


HOLDER = """
import sys, time, django
django.setup()
from farmlokal.observability import request_costs
from farmlokal.page_cache import cache, views
from django.test import Client
def dies_in_the_middle(body, link="", **more):
    print("holding", request_costs.current.statements, flush=True)
    time.sleep(60)
client = Client(headers={"Host": "localhost"})
client.get("/products")  # what a process reads once
views.Representation.of = dies_in_the_middle
print("ready", flush=True)
sys.stdin.readline()
client.get("/products")
"""


def test_with_the_maker_killed_they_are_two(database_environment: dict[str, str]) -> None:
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
    assert statements == 1  # besides that of the one who was killed
