"""Postings: one row for each word of each listed product. Queries; the table is in products/models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Exists, OuterRef

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from products.models import Product, ProductQuerySet


class PostingQuerySet(models.QuerySet[Any]):
    def update_product(self, before: Product | None, after: Product) -> None:
        """Bring the postings of a saved product up to date. before: its row as it was, None if it is new."""
        old = set(before.words.split()) if before and before.is_active else set()
        new = set(after.words.split()) if after.is_active else set()
        # created_at is part of the primary key: a change replaces all postings.
        common = old & new if before and before.created_at == after.created_at else set()
        if before and (removed := old - common):
            self.of(before, removed).delete()
        if before and common and (before.price, before.name) != (after.price, after.name):
            self.of(before, common).update(price=after.price, name=after.name)
        self.bulk_create(self.build(after, new - common))

    def orphans(self, term: str, listed: ProductQuerySet) -> list[tuple[Any, int]]:
        """(created_at, product id) of the term's postings without a listed product that has the word."""
        product = listed.filter(pk=OuterRef("product_id"), created_at=OuterRef("created_at"))
        product = product.filter(words__contains=f" {term} ")
        return list(self.filter(~Exists(product), term=term).values_list("created_at", "product_id"))

    def build(self, product: Product, terms: Iterable[str]) -> list[Any]:
        """Unsaved postings."""
        copies = {"product_id": product.pk, "created_at": product.created_at}
        copies |= {"price": product.price, "name": product.name}
        return [self.model(term=term, **copies) for term in sorted(terms)]

    def of(self, product: Product, terms: Iterable[str]) -> Self:
        return self.filter(term__in=sorted(terms), created_at=product.created_at, product_id=product.pk)
