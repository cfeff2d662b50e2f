"""manage.py seed_products ROWS: a believable catalogue, the same for the same seed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import MySQLdb
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from products.managers import POST, POST_ROWS, REINDEX_ROWS
from products.models import Farm, Posting, Product
from products.page_cache import announce_write
from products.seeding import generator
from products.seeding.bulk_loader import (
    LoadError,
    Replacement,
    bulk_connection,
    clear,
    connect,
    execute,
    is_unavailable,
    load,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

    from MySQLdb.connections import Connection

FARMS = Farm._meta.db_table
PRODUCTS = Product._meta.db_table
POSTINGS = Posting._meta.db_table
TABLES = (FARMS, PRODUCTS, POSTINGS)


class Command(BaseCommand):
    help = (
        "Fills the catalogue with ROWS made-up products and their farms. Interrupted, it leaves the old catalogue "
        "as it was; with --append, the old one and some of the new products."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("rows", type=int, metavar="ROWS", help="how many products")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="another N, another catalogue")
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--reset", action="store_true", help="replace all products and farms")
        group.add_argument("--append", action="store_true", help="add to the products and farms that there are")
        group.add_argument("--if-empty", action="store_true", help="do nothing where there are products or farms")

    def handle(self, *, rows: int, seed: int, reset: bool, append: bool, if_empty: bool, **_: Any) -> None:
        if rows < 0:
            raise CommandError("ROWS must be 0 or more.")
        start = time.monotonic()
        try:
            with bulk_connection() as raw:
                is_empty = not (Product.objects.exists() or Farm.objects.exists())
                if if_empty and not is_empty:
                    return
                if append:
                    self.append(raw, rows, seed)
                elif reset or is_empty:
                    self.reset(raw, rows, seed)
                else:
                    raise CommandError(
                        "there is a catalogue already; say --reset to replace it or --append to add to it."
                    )
        except (LoadError, MySQLdb.Error) as error:
            raise CommandError(f"the load failed: {error}") from error
        self.say(f"{rows:,} products in {time.monotonic() - start:.1f} s.")

    def reset(self, raw: Connection, rows: int, seed: int) -> None:
        try:
            self.replace(raw, rows, seed)
        except MySQLdb.Error as error:
            if not is_unavailable(error):
                raise
            self.say("The server refuses new tables. Deleting the old rows ...")
            clear(raw, TABLES)
            announce_write()
            self.append(raw, rows, seed)

    def replace(self, raw: Connection, rows: int, seed: int) -> None:
        with Replacement(raw, TABLES) as replacement:
            products = replacement.new(PRODUCTS)
            self.fill(raw, rows, seed, farms_into=replacement.new(FARMS), products_into=products)
            self.say("Making each word's list of products ...")
            post(raw, products, replacement.new(POSTINGS), 1)
            self.say("Adding the keys ...")
            with connect() as other, ThreadPoolExecutor(1) as aside:
                posting_keys = aside.submit(replacement.add_keys, POSTINGS, other)
                replacement.add_keys(FARMS, raw)
                replacement.add_keys(PRODUCTS, raw)
                posting_keys.result()
            replacement.swap()
            announce_write()

    def append(self, raw: Connection, rows: int, seed: int) -> None:
        after = {
            model: model._default_manager.order_by("pk").values_list("pk", flat=True).last() or 0
            for model in (Farm, Product)
        }
        first = after[Product] + 1

        def also(count: int) -> None:
            nonlocal first
            post(raw, PRODUCTS, POSTINGS, first)
            first += count

        self.fill(raw, rows, seed, farms_after=after[Farm], products_after=after[Product], also=also)

    def fill(
        self,
        raw: Connection,
        rows: int,
        seed: int,
        *,
        farms_into: str = FARMS,
        products_into: str = PRODUCTS,
        farms_after: int = 0,
        products_after: int = 0,
        also: Callable[[int], object] = lambda _: None,
    ) -> None:
        farms = generator.farm_rows(seed, -(-rows // generator.PRODUCTS_PER_FARM), farms_after + 1)
        products = generator.product_rows(seed, rows, farms, products_after + 1)
        load(raw, farms_into, generator.FARM_COLUMNS, farms, lambda _: None)
        with tqdm(total=rows, unit=" products", unit_scale=True, disable=None, dynamic_ncols=True) as bar:

            def progress(count: int) -> None:
                bar.update(count)
                if products_into == PRODUCTS:
                    announce_write()  # no transaction of Django's: right away

            load(raw, products_into, generator.PRODUCT_COLUMNS, products, progress, also)

    def say(self, text: str) -> None:
        self.stdout.write(text)


def post(raw: Connection, products: str, postings: str, first: int) -> None:
    """Make the postings of the products from this id on."""
    try:
        execute(raw, POST.format(postings=postings, products=products, first=first))
    except MySQLdb.Error as error:
        if not is_unavailable(error):
            raise
        _post_rows(raw, products, postings, first)


def _post_rows(raw: Connection, products: str, postings: str, first: int) -> None:
    page = (
        f"SELECT id, words, created_at, price, name FROM `{products}` WHERE is_active AND id >= %s"  # noqa: S608
        f" ORDER BY id LIMIT {REINDEX_ROWS}"
    )
    while rows := execute(raw, page, (first,)):
        made = [
            (term, created_at, pk, price, name) for pk, words, created_at, price, name in rows for term in words.split()
        ]
        raw.cursor().executemany(POST_ROWS.format(postings=postings), made)
        first = rows[-1][0] + 1
