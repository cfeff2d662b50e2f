"""Querysets of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import connection, models
from django.db.models import Exists, F, OuterRef, Subquery

from farmlokal.mysql.transactions import atomic_with_retry
from products.page_cache import announce_write
from products.search.words import joined, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from products.models import Product


# Of a product's own columns, those that its public document needs.
ROW_COLUMNS = (
    *("id", "name", "slug", "description", "category_id", "commodity_id", "variety", "grade", "farm_id"),
    *("district_id", "state_id", "price", "unit", "stock", "organic", "created_at", "updated_at"),
)

# A row for each word of each product from an id on. Into an empty table, MariaDB sorts them first (its bulk load).
POST = """
INSERT INTO `{postings}` (term, created_at, product_id, price, name)
SELECT word.term, p.created_at, p.id, p.price, p.name
FROM `{products}` p,
     JSON_TABLE(CONCAT('["', REPLACE(TRIM(p.words), ' ', '","'), '"]'),
                '$[*]' COLUMNS (term VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) word
WHERE p.is_active AND p.id >= {first}
"""
# The same for some products, with words that are known here: Vitess has no JSON_TABLE. A row that exists gets the
# product's price and name.
POST_ROWS = """
INSERT INTO `{postings}` (term, created_at, product_id, price, name) VALUES (%s, %s, %s, %s, %s)
ON DUPLICATE KEY UPDATE price = VALUES(price), name = VALUES(name)
"""
REINDEX_ROWS = 500
REINDEXED = ("words", "is_active", "created_at", "price", "name", "variety", "commodity", "farm")


class ProductQuerySet(models.QuerySet[Any]):
    def listed(self) -> Self:
        return self.filter(is_active=True)

    def rows(self) -> models.QuerySet[Any, dict[str, Any]]:
        """The columns behind a public Product, as dictionaries: all that an answer needs, in one statement."""
        version = apps.get_model("products", "VocabularyVersion").objects.filter(pk=1).values("version")
        return self.values(*ROW_COLUMNS, farm_name=F("farm__name"), vocabulary_version=Subquery(version))

    def reindex(self, progress: Callable[[int], object] = lambda _: None, *, only_stale: bool = False) -> None:
        """Rebuild words and postings, a few hundred locked products at a time.

        A search meanwhile finds each product by its old words or by its new ones. progress gets numbers of products.
        only_stale leaves products alone whose words are right, and trusts their postings.
        """
        last = 0
        while pks := list(self.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:REINDEX_ROWS]):
            if chosen := self._stale(pks) if only_stale else pks:
                self._reindex(chosen)
            progress(len(pks))
            last = pks[-1]

    def _reindexed(self, pks: Sequence[int]) -> Self:
        # A statement for each table: without statistics, a join reads the whole catalogue for these few.
        return self.filter(pk__in=pks).only(*REINDEXED).prefetch_related("commodity", "farm__district__state")

    def _stale(self, pks: Sequence[int]) -> list[int]:
        return [product.pk for product in self._reindexed(pks) if product.words != searched_words(product)]

    @atomic_with_retry
    def _reindex(self, pks: Sequence[int]) -> None:
        announce_write()
        postings = apps.get_model("products", "Posting")._default_manager.all()
        changed, rows = [], []
        # Products are locked first and farms read afterwards, so words never follow from an older row.
        for product in self._reindexed(pks).select_for_update():
            words = searched_words(product)
            if words != product.words:
                postings.of(product, product.words.split()).delete()
                product.words = words
                changed.append(product)
            if product.is_active:
                created_at = connection.ops.adapt_datetimefield_value(product.created_at)
                values = (created_at, product.pk, product.price, product.name)
                rows += [(term, *values) for term in words.split()]
        self.bulk_update(changed, ["words"])
        with connection.cursor() as cursor:
            cursor.executemany(POST_ROWS.format(postings=postings.model._meta.db_table), rows)


def searched_words(product: Product) -> str:
    """What a search finds the product by, as Product.words holds it."""
    district = product.farm.district
    texts = [
        product.name,
        product.variety,
        product.commodity.name,
        product.farm.name,
        district.name,
        district.state.name,
    ]
    return joined(words_of(" ".join(texts)))


class PostingQuerySet(models.QuerySet[Any]):
    def move(self, before: Product | None, after: Product) -> None:
        """Makes the postings of a saved product those of its row as it is now; before is the row as it was."""
        old = set(before.words.split()) if before and before.is_active else set()
        new = set(after.words.split()) if after.is_active else set()
        kept = old & new
        if before and before.created_at != after.created_at:
            kept = set()
        if before and (gone := old - kept):
            self.of(before, gone).delete()
        if before and kept and (before.price, before.name) != (after.price, after.name):
            self.of(before, kept).update(price=after.price, name=after.name)
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

    def of(self, product: Product, terms: Iterable[str]) -> Self:
        return self.filter(term__in=sorted(terms), created_at=product.created_at, product_id=product.pk)
