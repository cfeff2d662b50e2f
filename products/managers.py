"""Querysets of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import connection, models
from django.db.models import Exists, F, OuterRef, Subquery

from products.cache import announce_write
from products.transactions import transactional
from products.words import joined, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from products.conditions import Condition
    from products.models import Product


# Of a product's own columns, those that its public document needs.
ROW_COLUMNS = (
    *("id", "name", "slug", "description", "category_id", "commodity_id", "variety", "grade", "farm_id"),
    *("district_id", "state_id", "price", "unit", "stock", "organic", "created_at", "updated_at"),
)
# What a search finds a product by.
SEARCHED = ("name", "variety", "commodity__name", "farm__name", "farm__district__name", "farm__district__state__name")

# A row for each word of each product. Into an empty table, MariaDB sorts them first (its bulk load).
POST = """
INSERT INTO `{postings}` (term, created_at, product_id, price, name)
SELECT word.term, p.created_at, p.id, p.price, p.name
FROM `{products}` p,
     JSON_TABLE(CONCAT('["', REPLACE(TRIM(p.words), ' ', '","'), '"]'),
                '$[*]' COLUMNS (term VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) word
WHERE p.is_active AND {where}
"""
# Those that are there already get the product's price and name.
AGAIN = "ON DUPLICATE KEY UPDATE price = VALUES(price), name = VALUES(name)"
REINDEX_ROWS = 500


class ProductQuerySet(models.QuerySet[Any]):
    conditions: tuple[Condition, ...] = ()
    asked: tuple[tuple[str, str], ...] = ()

    def meeting(self, conditions: Iterable[Condition], asked: Iterable[tuple[str, str]]) -> Self:
        """With what pages.py is to find besides, and how a request says it: [(parameter, value)]."""
        queryset = self.all()
        queryset.conditions, queryset.asked = tuple(conditions), tuple(asked)
        return queryset

    def listed(self) -> Self:
        return self.filter(is_active=True)

    def rows(self) -> models.QuerySet[Any, dict[str, Any]]:
        """The columns behind a public Product, as dictionaries: all that an answer needs, in one statement."""
        version = apps.get_model("products", "VocabularyVersion").objects.filter(pk=1).values("version")
        return self.values(*ROW_COLUMNS, farm_name=F("farm__name"), vocabulary_version=Subquery(version))

    def reindex(self, progress: Callable[[int], object] = lambda _: None) -> None:
        """Makes words and postings what they are to be, a few hundred locked products at a time; whoever searches
        meanwhile finds each product by its old words or by its new ones. progress is told numbers of products."""
        last = 0
        while pks := list(self.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:REINDEX_ROWS]):
            self._reindex(pks)
            progress(len(pks))
            last = pks[-1]

    @transactional
    def _reindex(self, pks: Sequence[int]) -> None:
        announce_write()
        products = self.model._default_manager.filter(pk__in=pks)
        # Read after they were locked: nobody writes what follows from an older row.
        len(products.select_for_update().values_list("pk"))
        changed = []
        for pk, words, created_at, *texts in products.values_list("pk", "words", "created_at", *SEARCHED):
            new = joined(words_of(" ".join(texts)))
            if new != words:
                stale = apps.get_model("products", "Posting")._default_manager.filter(term__in=words.split())
                stale.filter(created_at=created_at, product_id=pk).delete()
                changed.append(self.model(pk=pk, words=new))
        products.bulk_update(changed, ["words"])
        where = f"p.id IN ({', '.join(['%s'] * len(pks))})"
        tables = {"products": self.model._meta.db_table, "postings": f"{self.model._meta.app_label}_posting"}
        with connection.cursor() as cursor:
            cursor.execute(POST.format(**tables, where=where) + AGAIN, pks)


class PostingQuerySet(models.QuerySet[Any]):
    def move(self, before: Product | None, after: Product) -> None:
        """Makes the postings of a saved product those of its row as it is now; before is the row as it was."""
        old = set(before.words.split()) if before and before.is_active else set()
        new = set(after.words.split()) if after.is_active else set()
        kept = old & new
        if before and before.created_at != after.created_at:
            kept = set()
        if before and (gone := old - kept):
            self._of(before, gone).delete()
        if before and kept and (before.price, before.name) != (after.price, after.name):
            self._of(before, kept).update(price=after.price, name=after.name)
        self.bulk_create(self.made_from(after, new - kept))

    def orphans(self, term: str) -> list[tuple[Any, int]]:
        """(created_at, product id) of the term's entries that no product accounts for."""
        products = apps.get_model("products", "Product")._default_manager.listed()
        its_product = products.filter(
            pk=OuterRef("product_id"), created_at=OuterRef("created_at"), words__contains=f" {term} "
        )
        return list(self.filter(~Exists(its_product), term=term).values_list("created_at", "product_id"))

    def made_from(self, product: Product, terms: Iterable[str]) -> list[Any]:
        copied = {"product_id": product.pk, "created_at": product.created_at}
        copied |= {"price": product.price, "name": product.name}
        return [self.model(term=term, **copied) for term in sorted(terms)]

    def _of(self, product: Product, terms: Iterable[str]) -> Self:
        return self.filter(term__in=sorted(terms), created_at=product.created_at, product_id=product.pk)
