"""Writes to the catalogue, for views and other apps. Admin forms call Product.save() themselves.

Each is one transaction that locks the product's row. Raises ValidationError for values that the model rejects, and
Product.DoesNotExist for an unknown or withdrawn product. In a transaction that has locked the product already, call
change_locked or withdraw_locked: they need no second lock.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from decimal import Decimal
from typing import TypedDict, Unpack

from farmlokal.mysql.transactions import atomic_with_retry
from products.models import Commodity, Farm, Product

# SQL, since Django takes longer to write this statement than MySQL to run it.
LOCK = "SELECT * FROM products_product WHERE id = %s FOR UPDATE"


class Fields(TypedDict, total=False):
    """The writable fields. Product.save() derives the others. commodity and farm must be saved already."""

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
    is_active: bool


def is_listed(product_id: int) -> bool:
    return Product.objects.listed().filter(pk=product_id).exists()


def lock(product_id: int) -> Product | None:
    """The product, even if withdrawn, locked until the transaction ends. None if it does not exist."""
    return next(iter(Product.objects.raw(LOCK, [product_id])), None)


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
    """Writes nothing if no value differs."""
    product = lock_listed(product_id)
    change_locked(product, **fields)
    return product


def change_locked(product: Product, **fields: Unpack[Fields]) -> bool:
    """False if no value differs. The product must come from lock(), and be unchanged since."""
    before = copy.copy(product)
    for name, value in fields.items():
        setattr(product, name, value)
    _check(product, fields)
    if not product.changed_fields(before):
        return False
    product.save(before=before)
    return True


@atomic_with_retry
def withdraw(product_id: int) -> Product:
    product = lock_listed(product_id)
    withdraw_locked(product)
    return product


def withdraw_locked(product: Product) -> None:
    """The product must come from lock(), and be unchanged since."""
    before = copy.copy(product)
    product.is_active = False
    product.save(before=before)


def restore_locked(product: Product) -> None:
    """List a withdrawn product again. It must come from lock(), and be unchanged since."""
    before = copy.copy(product)
    product.is_active = True
    product.save(before=before)


def _check(product: Product, names: Collection[str]) -> None:
    """Validate these fields only: a value that an older rule allowed in another field must not block a new price.

    The foreign keys check that commodity and farm exist.
    """
    exclude = {field.name for field in Product._meta.fields if field.name not in names or field.is_relation}
    product.full_clean(exclude=exclude)
