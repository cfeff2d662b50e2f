"""python -m dev.testing.listing_writer SEED: disturbs a listing until it is killed.

Inserts products, and moves or withdraws those that are not the first farm's.
"""

from __future__ import annotations

import random
import sys
from decimal import Decimal

import django


def write(seed: int) -> None:
    from products.models import Farm, Product  # noqa: PLC0415  # once Django is set up

    rng = random.Random(seed)
    second = Farm.objects.latest("pk")
    template = Product.objects.filter(farm=second).first()
    assert template
    sys.stdout.write("writing\n")
    sys.stdout.flush()
    while True:
        name, price = f"n{rng.randrange(7)}", Decimal(rng.randrange(1, 6))
        at_random = Product.objects.filter(farm=second, pk__gte=rng.randrange(template.pk, template.pk + 400))
        product = at_random.order_by("pk").first() or template
        match rng.randrange(4):
            case 0:
                Product.objects.create(
                    name=name,
                    price=price,
                    farm=second,
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


if __name__ == "__main__":
    django.setup()
    write(int(sys.argv[1]))
