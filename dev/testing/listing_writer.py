"""Processes that change a listing while a test reads it: `python -m dev.testing.listing_writer SEED`.

A writer makes a few changes for each line that it reads, then prints a line. So the number of changes does not depend
on the speed of the machine.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import django
from django.db import OperationalError

from farmlokal.mysql.errors import DEADLOCK, ROW_IS_LOCKED

if TYPE_CHECKING:  # at run time only once Django is set up
    from products.models import Product

WRITERS = 2
CHANGES_PER_BURST = 3


class Writers:
    """Processes that insert products, and change, withdraw and relist those of the newest farm."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make a few changes while the block runs. They have ended when the block ends."""
        for process in self._processes:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        yield
        self.wait()

    def wait(self) -> None:
        for process in self._processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n", "a writer failed"


@contextmanager
def listing_writers(environment: Mapping[str, str]) -> Iterator[Writers]:
    """The newest farm must have a product when they start."""
    command = [sys.executable, "-m", "dev.testing.listing_writer"]
    processes = [
        subprocess.Popen(
            [*command, str(seed)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for seed in range(WRITERS)
    ]
    writers = Writers(processes)
    try:
        writers.wait()
        yield writers
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def change_product(rng: random.Random, template: Product) -> None:
    """One change to a random product of the template's farm."""
    from products.models import Product  # noqa: PLC0415  # once Django is set up

    name, price = f"n{rng.randrange(7)}", Decimal(rng.randrange(1, 6))
    first_pk = rng.randrange(template.pk, template.pk + 400)
    product = Product.objects.filter(farm=template.farm, pk__gte=first_pk).order_by("pk").first() or template
    match rng.randrange(4):
        case 0:
            Product.objects.create(
                name=name,
                price=price,
                farm=template.farm,
                commodity=template.commodity,
                grade="B",
                created_at=product.created_at,
            )
        case 1:
            product.price, product.name = price, name
            product.save()
        case 2:
            product.is_active = False
            product.save()
        case 3:
            product.is_active, product.created_at = True, template.created_at
            product.save()


def main(seed: int) -> None:
    from products.models import Farm, Product  # noqa: PLC0415

    rng = random.Random(seed)
    template = Product.objects.filter(farm=Farm.objects.latest("pk")).earliest("pk")
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(CHANGES_PER_BURST):
            try:
                change_product(rng, template)
            except OperationalError as error:
                if error.args[0] not in {DEADLOCK, *ROW_IS_LOCKED}:
                    raise
        print("ready", flush=True)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]))
