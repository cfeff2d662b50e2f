"""The write calls of the catalogue, for views, the admin and other apps.

Each is one transaction that locks the product's row; Product.save() keeps what follows from the
fields and the words that a search reads in it. What the model does not accept is a ValidationError;
a product that is unknown or withdrawn is Product.DoesNotExist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from farmlokal.mysql.transactions import atomic_with_retry
from products.models import Commodity, Farm, Product

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal


class Fields(TypedDict, total=False):
    """What may be written; the rest follows. A commodity and a farm are saved ones."""

    name: str
    description: str
    commodity: Commodity
    variety: str
    grade: str
    farm: Farm
    price: Decimal
    unit: str
    stock: int
    organic: bool


def is_listed(product_id: int) -> bool:
    return Product.objects.listed().filter(pk=product_id).exists()


def lock(product_id: int) -> Product | None:
    """The product, withdrawn or not, which nobody else changes until the transaction ends; None where there is none."""
    return Product.objects.select_for_update().filter(pk=product_id).first()


def lock_listed(product_id: int) -> Product:
    product = lock(product_id)
    if product is None or not product.is_active:
        raise Product.DoesNotExist
    return product


@atomic_with_retry
def create(**fields: Unpack[Fields]) -> Product:
    product = Product(**fields)
    _check(product, [field.name for field in Product._meta.fields if field.editable])
    product.save()
    return product


@atomic_with_retry
def change(product_id: int, **fields: Unpack[Fields]) -> Product:
    """Writes nothing where nothing differs."""
    product = lock_listed(product_id)
    before = _values(product)
    for name, value in fields.items():
        setattr(product, name, value)
    _check(product, fields)
    if _values(product) != before:
        product.save()
    return product


@atomic_with_retry
def withdraw(product_id: int) -> Product:
    product = lock_listed(product_id)
    product.is_active = False
    product.save()
    return product


def _values(product: Product) -> list[object]:
    return [getattr(product, field.attname) for field in Product._meta.fields]


def _check(product: Product, names: Collection[str]) -> None:
    """These fields only: what an earlier rule let pass elsewhere in the row does not stop a new price. That a
    commodity and a farm exist is for the foreign keys to say."""
    exclude = {field.name for field in Product._meta.fields if field.name not in names or field.is_relation}
    product.full_clean(exclude=exclude)
