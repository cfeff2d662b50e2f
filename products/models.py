"""The catalogue's tables. README explains each index with the query that it serves."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone
from django.utils.text import slugify

from farmlokal.mysql.transactions import atomic_with_retry
from products.managers import PostingQuerySet, ProductQuerySet, searched_words
from products.page_cache import announce_write
from products.search.words import MAX_WORD_LENGTH
from products.validators import validate_line, validate_slug_source, validate_text

# Names sort alike on every server and every version of it; slugs are compared byte for byte.
NAME_COLLATION = "utf8mb4_unicode_ci"
SLUG_COLLATION = WORD_COLLATION = "utf8mb4_bin"
MAX_ID = 10**18 - 1  # 18 digits, which fit into a signed BIGINT
MAX_STOCK = 2**31 - 1
MAX_DESCRIPTION_LENGTH = 10_000

# Each sort has an index of its own for the whole catalogue and behind each of these filters.
SORT_FIELDS = ("created_at", "price", "name")
INDEXED_FILTERS = ("category", "commodity", "state", "district", "farm")


def _index(filters: tuple[str, ...], sort: str) -> str:
    return "_".join(["product", *filters, sort])


def _covered(filters: tuple[str, ...], sort: str) -> tuple[str, ...]:
    """The range of prices is sorted by one of these when price is not the sort asked for."""
    return ("created_at", "name") if (filters, sort) == ((), "price") else ()


def new_version() -> int:
    return secrets.randbits(63)


class VocabularyVersion(models.Model):
    """One row with a number that is new after every change of a name that pages show.

    A page reads it in its own statement, so that a process always knows whether the names that
    it holds in memory (vocabulary.py) are those of the page's snapshot. Random, not counted: a
    version that was rolled back, or lost with a restored backup, never comes back with other names.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=new_version)

    def __str__(self) -> str:
        return str(self.version)

    @classmethod
    def bump(cls) -> None:
        cls.objects.update_or_create(pk=1, defaults={"version": new_version()})


class VocabularyEntry(models.Model):
    """A name from the fixed lists that products refer to."""

    name = models.CharField(max_length=100, db_collation=NAME_COLLATION, validators=[validate_line])
    slug = models.SlugField(max_length=120, unique=True, db_collation=SLUG_COLLATION)

    class Meta:
        abstract = True
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            announce_write()
            super().save(*args, **kwargs)
            VocabularyVersion.bump()


class Category(VocabularyEntry):
    """A commodity group of AGMARKNET, such as Spices."""

    class Meta(VocabularyEntry.Meta):
        verbose_name_plural = "categories"


class Commodity(VocabularyEntry):
    """What grows, such as Turmeric."""

    category = models.ForeignKey(Category, models.PROTECT, related_name="commodities")

    class Meta(VocabularyEntry.Meta):
        verbose_name_plural = "commodities"


class State(VocabularyEntry):
    pass


class District(VocabularyEntry):
    state = models.ForeignKey(State, models.PROTECT, related_name="districts")


class Farm(models.Model):
    name = models.CharField(max_length=150, db_collation=NAME_COLLATION, validators=[validate_line])
    district = models.ForeignKey(District, models.PROTECT, related_name="farms")

    class Meta:
        indexes = (models.Index(fields=["name", "id"], name="farm_name"),)

    def __str__(self) -> str:
        return self.name

    @atomic_with_retry
    def save(self, **kwargs: Any) -> None:
        """Its products are found by its new name at once."""
        announce_write()
        before = type(self).objects.select_for_update().filter(pk=self.pk).first()
        super().save(**kwargs)
        if before and before.name != self.name:
            Product.objects.filter(farm=self).reindex()


class Product(models.Model):
    """One offer of one farm.

    category, district and state are copies of what commodity and farm say, kept by save(), so that a
    filter by one of them can be one range of one index. They carry no foreign key of their own in
    the database, since the originals do.
    """

    class Grade(models.TextChoices):
        A = "A", "A"
        B = "B", "B"
        C = "C", "C"

    class Unit(models.TextChoices):
        KILOGRAM = "kg", "kilogram"
        QUINTAL = "quintal", "quintal"
        LITRE = "litre", "litre"
        DOZEN = "dozen", "dozen"
        PIECE = "piece", "piece"
        BUNCH = "bunch", "bunch"

    name = models.CharField(
        max_length=200, db_collation=NAME_COLLATION, validators=[validate_line, validate_slug_source]
    )
    slug = models.SlugField(
        max_length=200, allow_unicode=True, db_index=False, editable=False, db_collation=SLUG_COLLATION
    )
    description = models.TextField(
        max_length=MAX_DESCRIPTION_LENGTH, blank=True, default="", validators=[validate_text]
    )
    commodity = models.ForeignKey(Commodity, models.PROTECT, db_index=False)
    category = models.ForeignKey(Category, models.DO_NOTHING, db_constraint=False, db_index=False, editable=False)
    variety = models.CharField(max_length=100, blank=True, default="", validators=[validate_line])
    grade = models.CharField(max_length=1, choices=Grade)
    farm = models.ForeignKey(Farm, models.PROTECT, db_index=False)
    district = models.ForeignKey(District, models.DO_NOTHING, db_constraint=False, db_index=False, editable=False)
    state = models.ForeignKey(State, models.DO_NOTHING, db_constraint=False, db_index=False, editable=False)
    price = models.DecimalField(
        "price in rupees", max_digits=10, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))]
    )
    unit = models.CharField(max_length=10, choices=Unit, default=Unit.KILOGRAM)
    stock = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(MAX_STOCK)])
    organic = models.BooleanField(default=False)
    is_active = models.BooleanField(
        "listed", default=True, help_text="A withdrawn product keeps its row, but no page shows it."
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    words = models.TextField(default="", editable=False, db_collation=WORD_COLLATION)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProductQuerySet.as_manager()

    class Meta:
        # is_active leads, so that no number of withdrawn products slows a page; the id behind each
        # sort column breaks ties. All ascending: an index serves both directions.
        indexes = tuple(
            models.Index(
                fields=[*filters, "is_active", sort, "id", *_covered(filters, sort)], name=_index(filters, sort)
            )
            for filters in ((), *((name,) for name in INDEXED_FILTERS))
            for sort in SORT_FIELDS
        )

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: Any) -> None:
        """Writes the whole row, what follows from other columns and its postings included, as its next version.

        Who changes a row that others may change too locks it first.
        """
        if kwargs.get("update_fields") is not None:
            raise ValueError("A product is saved whole: what follows from the fields would be left behind.")
        if not self._state.adding:
            self.version += 1
            self.updated_at = timezone.now()
        self._write(**kwargs)

    @atomic_with_retry
    def _write(self, **kwargs: Any) -> None:
        announce_write()
        # Nobody renames the farm between the words that are taken from it and the end of the transaction.
        self.farm.name = Farm.objects.select_for_update().values_list("name", flat=True).get(pk=self.farm_id)
        self.derive()
        before = None
        if not self._state.adding:
            before = type(self).objects.select_for_update().filter(pk=self.pk).first()
        super().save(**kwargs)
        Posting.objects.move(before, self)

    def derive(self) -> None:
        """Sets what follows from name, variety, commodity and farm."""
        district = self.farm.district
        self.slug = slugify(self.name, allow_unicode=True)[:200]
        self.category_id = self.commodity.category_id
        self.district_id = district.pk
        self.state_id = district.state_id
        self.words = searched_words(self)


class Posting(models.Model):
    """One word of one listed product: the inverted index that a search reads.

    The words of a prefix lie side by side. created_at, price and name are copies of the product's, so that
    the products of a word can be read in each order.
    """

    pk = models.CompositePrimaryKey("term", "created_at", "product_id")
    term = models.CharField(max_length=MAX_WORD_LENGTH, db_collation=WORD_COLLATION)
    created_at = models.DateTimeField()
    product_id = models.BigIntegerField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    name = models.CharField(max_length=200, db_collation=NAME_COLLATION)

    objects = PostingQuerySet.as_manager()

    class Meta:
        # (term, created_at, product_id) is the primary key.
        indexes = (
            models.Index(fields=["term", "price", "product_id"], name="posting_price"),
            models.Index(fields=["term", "name", "product_id"], name="posting_name"),
        )

    def __str__(self) -> str:
        return f"{self.term} in product {self.product_id}"


class IdempotencyKey(models.Model):
    """The answer to the POST that carried this key, kept in the same transaction as what it made."""

    caller = models.CharField(max_length=100, db_collation=SLUG_COLLATION)
    key = models.CharField(max_length=255, db_collation=SLUG_COLLATION)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    location = models.TextField(default="")
    etag = models.CharField(max_length=100, default="")
    body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key"),)

    def __str__(self) -> str:
        return self.key
