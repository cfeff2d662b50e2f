"""The search index always matches the products."""

from __future__ import annotations

import contextlib
import importlib
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client

from dev.testing.databases import is_statement_running
from dev.testing.jobs import finish
from dev.testing.listing_writer import listing_writers
from dev.testing.offers import make_farm, make_offer, make_offers
from dev.testing.waiting import wait_until
from dev.testing.walks import ids, walk
from products import services
from products.listing import statistics
from products.models import Commodity, Farm, Posting, Product
from products.search import reindexing

pytestmark = pytest.mark.usefixtures("live_database")


@pytest.fixture(autouse=True)
def _delete_products(live_database: None) -> Iterator[None]:
    yield
    Product.objects.all().delete()
    Posting.objects.all().delete()
    Farm.objects.all().delete()


def assert_index_is_complete() -> None:
    """Each word of each listed product has one posting, with the product's values. There are no other postings."""
    expected = {
        (term, product.pk, product.created_at, product.price, product.name)
        for product in Product.objects.listed()
        for term in product.words.split()
    }
    assert set(Posting.objects.values_list("term", "product_id", "created_at", "price", "name")) == expected
    for product in Product.objects.select_related("commodity", "farm__district__state"):
        words = product.words
        product.derive()
        assert product.words == words


def test_every_write_updates_its_postings() -> None:
    rng = random.Random(5)
    farms = [make_farm("Patil Farm", "ratnagiri"), make_farm("Nair Gardens", "erode")]
    commodities = list(Commodity.objects.filter(slug__in=["mango", "onion", "turmeric"]))
    products = [make_offer(farm=farms[0]) for _ in range(5)]
    for _ in range(150):
        changes: dict[str, Any] = {
            "name": rng.choice(["Mango", "Mango ripe", "आम", "7", "mango MANGO mängo"]),
            "price": rng.choice([Decimal("1.00"), Decimal("2.00")]),
            "commodity": rng.choice(commodities),
            "farm": rng.choice(farms),
            "stock": rng.randrange(3),
        }
        pk = rng.choice(products).pk
        if not Product.objects.listed().filter(pk=pk).exists():
            continue
        names = rng.sample(sorted(changes), rng.randrange(1, 4))
        services.change(pk, **{name: changes[name] for name in names})
        if rng.random() < 0.02:
            services.withdraw(pk)
    assert_index_is_complete()


def test_rolled_back_write_keeps_the_postings(client: Client) -> None:
    product = make_offer()
    before = set(Posting.objects.values_list("term", "product_id"))
    with transaction.atomic():
        services.change(product.pk, name="Another")
        transaction.set_rollback(True)
    assert set(Posting.objects.values_list("term", "product_id")) == before
    assert_index_is_complete()


def test_only_listed_products_are_searchable(client: Client) -> None:
    product = make_offer(name="Zebra melon")
    assert ids(client.get("/products?q=zebra").json()) == [product.pk]
    services.withdraw(product.pk)
    assert ids(client.get("/products?q=zebra").json()) == []
    assert not Posting.objects.exists()
    product.refresh_from_db()
    product.is_active = True
    product.save()
    assert_index_is_complete()


def test_renamed_farm_is_searchable_once_its_job_has_run(client: Client) -> None:
    product = make_offer()
    product.farm.name = "Zubin Orchards"
    product.farm.save()
    assert ids(client.get("/products?q=patil").json()) == [product.pk]
    finish(product.farm.reindexing)
    assert ids(client.get("/products?q=zubin").json()) == [product.pk]
    assert ids(client.get("/products?q=patil").json()) == []
    assert_index_is_complete()


def test_product_read_before_a_farm_rename_is_saved_with_the_new_name() -> None:
    product = make_offer()
    stale = Product.objects.get(pk=product.pk)
    product.farm.name = "Zubin Orchards"
    product.farm.save()
    stale.price = Decimal("5.00")
    stale.save()
    assert_index_is_complete()


def test_new_price_does_not_wait_for_a_farm_rename() -> None:
    product = make_offer()

    def change_price() -> None:
        with contextlib.closing(connection):
            services.change(product.pk, price=Decimal("5.00"))

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Farm.objects.select_for_update().get(pk=product.farm_id)
        pool.submit(change_price).result(timeout=30)  # a lock wait takes 50 s
    assert_index_is_complete()


def test_product_created_during_a_farm_rename_gets_the_new_name(
    client: Client, database_environment: dict[str, str]
) -> None:
    farm = make_farm("Old Orchards")
    code = (
        "import django; django.setup()\n"
        "from products.models import Commodity, Farm, Product\n"
        f"farm = Farm.objects.get(pk={farm.pk})\n"
        "mango = Commodity.objects.get(slug='mango')\n"
        "Product.objects.create(name='x', commodity=mango, farm=farm, grade='A', price=1)\n"
    )
    with transaction.atomic():
        farm.name = "Zubin Orchards"
        farm.save()
        other = subprocess.Popen([sys.executable, "-c", code], env=database_environment)
        # It has read the old name, and waits for this transaction.
        wait_until(lambda: is_statement_running("SELECT `products_farm`.`name`"))
    assert other.wait(timeout=60) == 0
    assert len(ids(client.get("/products?q=zubin").json())) == 1
    assert_index_is_complete()


def test_reindex_repairs_changes_made_by_sql_and_renames(client: Client) -> None:
    make_offers({"name": f"Mango {n}"} for n in range(1200))
    mango = Commodity.objects.get(slug="mango")
    mango.name = "Aam"
    mango.save()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE products_product SET is_active = FALSE WHERE id % 7 = 0")
        cursor.execute("UPDATE products_product SET name = 'Guava', price = 3 WHERE id % 7 = 1")
        cursor.execute("DELETE FROM products_posting WHERE product_id % 7 = 2")
        cursor.execute(
            "INSERT INTO products_posting SELECT 'stray', created_at, product_id, price, name"
            " FROM products_posting LIMIT 9"
        )
    call_command("reindex_search")
    assert_index_is_complete()
    assert len(client.get("/products?q=guava&limit=100").json()["results"]) == 100
    mango.name = "Mango"
    mango.save()


def test_migration_reindexes_products_with_stale_words(client: Client) -> None:
    migration = importlib.import_module("products.migrations.0005_words")
    products = make_offers({"name": f"Organic\u200bTomato {n}"} for n in range(600))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE products_product SET words = ' organictomato ' WHERE id % 2 = 0")
        cursor.execute("DELETE FROM products_posting WHERE product_id % 2 = 0")
        cursor.execute(
            "INSERT INTO products_posting SELECT 'organictomato', created_at, id, price, name"
            " FROM products_product WHERE id % 2 = 0"
        )
    for _ in range(2):
        migration.rebuild_search_index(apps, None)
        assert_index_is_complete()
    pages = walk(client, "/products?q=tomato&limit=100", max_pages=10)
    assert sum(len(ids(page)) for page in pages) == len(products)
    assert ids(client.get("/products?q=organictomato").json()) == []


def test_interrupted_reindex_keeps_its_finished_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    make_offers({"name": f"mango {n}"} for n in range(20))
    Product.objects.update(words="")
    Posting.objects.all().delete()
    monkeypatch.setattr(reindexing, "BATCH_ROWS", 15)
    with pytest.raises(KeyboardInterrupt):
        reindexing.reindex(Product.objects.all(), Posting.objects.all(), interrupt, only_stale=True)
    assert Product.objects.exclude(words="").count() == 15
    reindexing.reindex(Product.objects.all(), Posting.objects.all(), only_stale=True)
    assert_index_is_complete()


def test_reindex_during_writes_keeps_the_index_complete(client: Client, database_environment: dict[str, str]) -> None:
    """Two processes write during two runs of the command. A reader finds all unchanged products at any time."""
    unchanged = sorted(product.pk for product in make_offers({"name": "Mango kept"} for n in range(300)))
    make_offers({"name": f"n{n % 7}"} for n in range(400))
    with listing_writers(database_environment) as writers:
        for _ in range(2):
            reindex = subprocess.Popen([sys.executable, "manage.py", "reindex_search"], env=database_environment)
            while reindex.poll() is None:
                pages = walk(client, "/products?q=kept&limit=100", max_pages=50, during_each=writers.writing)
                assert sorted(pk for page in pages for pk in ids(page)) == unchanged
            assert reindex.returncode == 0
    assert Product.objects.filter(version__gt=1).exists()
    assert_index_is_complete()


def test_prefix_search_finds_words_newer_than_the_sample(client: Client) -> None:
    (old,) = make_offers([{"name": "Zeb"}])
    statistics.current()
    (new,) = make_offers([{"name": "Zebra"}])
    for _ in range(2):
        assert ids(client.get("/products?q=zeb").json()) == [new.pk, old.pk]
    assert ids(client.get("/products?q=zebr").json()) == [new.pk]
