"""manage.py seed_products ROWS: a plausible catalogue, the same for the same seed."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any, NoReturn

import MySQLdb
from django.core.management.base import BaseCommand, CommandError
from MySQLdb.connections import Connection
from tqdm import tqdm

from products.catalogue_cache import announce_write
from products.models import Farm, Posting, Product
from products.seeding import generator
from products.seeding.bulk_loader import LoadError, clear, connect, is_on_galera, is_unavailable, load
from products.seeding.lease import Lease
from products.seeding.postings import insert_postings
from products.seeding.replacement import Replacement

FARMS = Farm._meta.db_table
PRODUCTS = Product._meta.db_table
POSTINGS = Posting._meta.db_table
# Old changes would seem to be those of the new rows with the same keys. Seeding itself records nothing.
HISTORY = (Farm.history.model._meta.db_table, Product.history.model._meta.db_table)
TABLES = (FARMS, PRODUCTS, POSTINGS, *HISTORY)


class Command(BaseCommand):
    help = (
        "Fills the catalogue with ROWS generated products and their farms. If interrupted, it leaves the old catalogue "
        "unchanged; with --append, the old catalogue and some of the new products."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("rows", type=int, metavar="ROWS", help="number of products")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="each N gives a different catalogue")
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--reset", action="store_true", help="replace all products and farms")
        group.add_argument("--append", action="store_true", help="add to the existing products and farms")
        group.add_argument("--if-empty", action="store_true", help="do nothing if there are products or farms")

    def handle(self, *, rows: int, seed: int, reset: bool, append: bool, if_empty: bool, **_: Any) -> None:
        if rows < 0:
            raise CommandError("ROWS must be 0 or more.")
        if if_empty and not self.is_empty():  # also while another load is running
            return
        start = time.monotonic()
        try:
            with Lease() as lease, connect() as raw:
                is_empty = self.is_empty()
                if if_empty and not is_empty:
                    return
                if append:
                    self.append(raw, lease, rows, seed)
                elif reset or is_empty:
                    self.reset(raw, lease, rows, seed)
                else:
                    raise CommandError(
                        "the catalogue is not empty; use --reset to replace it or --append to add to it."
                    )
        except (LoadError, MySQLdb.Error) as error:
            raise CommandError(f"the load failed: {error}") from error
        self.say(f"{rows:,} products in {time.monotonic() - start:.1f} s.")

    def is_empty(self) -> bool:
        return not (Product.objects.exists() or Farm.objects.exists())

    def reset(self, raw: Connection, lease: Lease, rows: int, seed: int) -> None:
        try:
            self.replace(raw, lease, rows, seed)
        except MySQLdb.Error as error:
            if not is_unavailable(error):
                raise
            self.say("The server does not allow new tables. Deleting the old rows ...")
            clear(raw, TABLES)
            announce_write()
            self.append(raw, lease, rows, seed)

    def replace(self, raw: Connection, lease: Lease, rows: int, seed: int) -> None:
        keys_first = is_on_galera(raw)
        with Replacement(raw, TABLES, lease.token, keys_first=keys_first) as replacement:
            farms, products, postings = map(replacement.new, (FARMS, PRODUCTS, POSTINGS))
            if keys_first:
                index = partial(insert_postings, raw, products, postings)
                self.fill(raw, rows, seed, farms_into=farms, products_into=products, index=index)
                for table in TABLES:
                    replacement.analyze(table, raw)
            else:
                self.fill(raw, rows, seed, farms_into=farms, products_into=products)
                with self.phase("Filling the search index ..."):
                    insert_postings(raw, products, postings, 1)
                with self.phase("Adding the keys ..."):
                    self.add_keys(raw, replacement)
            lease.check(raw)
            replacement.swap()
            announce_write()

    def add_keys(self, raw: Connection, replacement: Replacement) -> None:
        with connect() as other, ThreadPoolExecutor(1) as thread:
            posting_keys = thread.submit(replacement.add_keys, POSTINGS, other)
            for table in (FARMS, PRODUCTS, *HISTORY):
                replacement.add_keys(table, raw)
            posting_keys.result()

    def append(self, raw: Connection, lease: Lease, rows: int, seed: int) -> None:
        last_farm, last_product = (
            model._default_manager.order_by("pk").values_list("pk", flat=True).last() or 0 for model in (Farm, Product)
        )

        def index(first_id: int) -> None:
            insert_postings(raw, PRODUCTS, POSTINGS, first_id)
            lease.check(raw)

        self.fill(raw, rows, seed, last_farm=last_farm, last_product=last_product, index=index)

    def fill(
        self,
        raw: Connection,
        rows: int,
        seed: int,
        *,
        farms_into: str = FARMS,
        products_into: str = PRODUCTS,
        last_farm: int = 0,
        last_product: int = 0,
        index: Callable[[int], object] = lambda _: None,
    ) -> None:
        """index is called in the transaction of each chunk of products, with the first id."""
        farms = generator.farm_rows(seed, -(-rows // generator.PRODUCTS_PER_FARM), last_farm + 1)
        products = generator.product_rows(seed, rows, farms, last_product + 1)
        load(raw, farms_into, generator.FARM_COLUMNS, farms, lambda _: None)
        with tqdm(total=rows, unit=" products", unit_scale=True, disable=None, dynamic_ncols=True) as bar:

            def progress(count: int) -> None:
                nonlocal last_product
                last_product += count
                bar.update(count)
                if products_into == PRODUCTS:
                    announce_write()  # this connection has no Django transaction: the announcement ends at once

            load(raw, products_into, generator.PRODUCT_COLUMNS, products, progress, lambda _: index(last_product + 1))

    @contextmanager
    def phase(self, text: str) -> Iterator[None]:
        """Long statements without news of their progress. On a terminal, a clock shows that they still run."""
        self.say(text)
        has_ended = Event()
        with tqdm(bar_format="{elapsed}", leave=False, disable=None) as clock, ThreadPoolExecutor(1) as thread:
            thread.submit(_tick, clock, has_ended)
            try:
                yield
            finally:
                has_ended.set()

    def say(self, text: str) -> None:
        self.stdout.write(text)


def _tick(clock: tqdm[NoReturn], has_ended: Event) -> None:
    while not has_ended.wait(1):
        clock.refresh()
