"""The products, and the indexes that serve the listing. docs/schema.md explains each index with its query."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Subquery
from django.utils import timezone
from django.utils.text import slugify

from farmlokal.mysql.transactions import atomic_with_retry
from products.catalogue_cache import announce_write
from products.history.records import ChangeRecords, record
from products.models.collations import BINARY_COLLATION, NAME_COLLATION
from products.models.farms import Farm
from products.models.postings import Posting
from products.models.vocabulary import Category, Commodity, District, State, VocabularyVersion
from products.search.reindexing import searched_words
from products.validators import validate_line, validate_slug_source, validate_text

MAX_ID = 10**18 - 1  # 18 digits, which fit into a signed BIGINT
MAX_STOCK = 2**31 - 1
MAX_DESCRIPTION_LENGTH = 10_000

# The listing is sorted by each of SORT_FIELDS, of all products or behind each of INDEXED_FILTERS.
SORT_FIELDS = ("created_at", "price", "name")
INDEXED_FILTERS = ("category", "commodity", "state", "district", "farm")

# The columns of a product that its public document needs.
ROW_COLUMNS = (
    *("id", "name", "slug", "description", "category_id", "commodity_id", "variety", "grade", "farm_id"),
    *("district_id", "state_id", "price", "unit", "stock", "organic", "created_at", "updated_at"),
)


class ProductQuerySet(models.QuerySet[Any]):
    def listed(self) -> Self:
        return self.filter(is_active=True)

    def rows(self) -> models.QuerySet[Any, dict[str, Any]]:
        """Dictionaries of all that a public document needs, in one statement."""
        version = VocabularyVersion.objects.filter(pk=1).values("version")
        return self.values(*ROW_COLUMNS, farm_name=F("farm__name"), vocabulary_version=Subquery(version))


# What the indexes of the whole catalogue have after their key.
COVERED = {"created_at": ("price",), "price": ("created_at", "name"), "name": ("price",)}


def _indexes() -> Iterator[models.Index]:
    """is_active comes before the sort field, so that withdrawn products cost nothing; the id after it breaks ties.

    All are ascending, because an index serves both directions.
    """
    for filters in ((), *((name,) for name in INDEXED_FILTERS)):
        for sort in SORT_FIELDS:
            # A range of prices in another order is checked or sorted within the index, without reading the rows.
            covered = () if filters else COVERED[sort]
            yield models.Index(
                fields=[*filters, "is_active", sort, "id", *covered], name="_".join(["product", *filters, sort])
            )


class Product(models.Model):
    """An offer of one farm.

    save() copies category, district and state from commodity and farm, so that a filter by any of them is one index
    range. The copies have no foreign key in the database, because the originals have one.
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
        max_length=200, allow_unicode=True, db_index=False, editable=False, db_collation=BINARY_COLLATION
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
    words = models.TextField(default="", editable=False, db_collation=BINARY_COLLATION)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ProductQuerySet.as_manager()
    # Without the fields that follow from others, and the times, which every change has.
    history = ChangeRecords(["slug", "category", "district", "state", "words", "created_at", "updated_at"])

    class Meta:
        indexes = tuple(_indexes())

    def __str__(self) -> str:
        return self.name

    def save(self, *, before: Product | None = None, **kwargs: Any) -> None:
        """Writes the row as its next version, with its derived fields, postings and history.

        Lock a row first if others may change it at the same time.
        before: a copy of the row as it was locked in this transaction. Only columns that differ from it are written.
        Without it, save() locks and reads the row, and writes all columns.
        """
        if kwargs.get("update_fields") is not None:
            raise ValueError("Save the whole product: its derived fields depend on the others.")
        if not self._state.adding:
            self.version += 1
            self.updated_at = timezone.now()
        self._write(before, **kwargs)

    @atomic_with_retry
    def _write(self, before: Product | None, **kwargs: Any) -> None:
        announce_write()
        # A rename may have passed over a product that was withdrawn then.
        is_relisted = before is not None and self.is_active and not before.is_active
        if before is None or is_relisted or before._sources() != self._sources():
            self._read_farm()
            self.derive()
        if before:
            kwargs["update_fields"] = self.changed_fields(before)
        elif not self._state.adding:
            before = type(self).objects.select_for_update().filter(pk=self.pk).first()
        super().save(**kwargs)
        record(before, self)
        Posting.objects.update_product(before, self)

    def changed_fields(self, before: Product) -> list[str]:
        names = [field.attname for field in self._meta.concrete_fields]
        return [name for name in names if getattr(self, name) != getattr(before, name)]

    def _sources(self) -> tuple[Any, ...]:
        """The fields from which the others derive."""
        return self.name, self.variety, self.commodity_id, self.farm_id

    def _read_farm(self) -> None:
        """The lock keeps the farm's name, whose words the product takes, until the end of the transaction."""
        name = Farm.objects.select_for_update().values_list("name", flat=True).get(pk=self.farm_id)
        if not Product.farm.is_cached(self):  # one statement instead of one for each table
            self.farm = Farm.objects.select_related("district__state").get(pk=self.farm_id)
        self.farm.name = name

    def derive(self) -> None:
        """Set the fields that follow from name, variety, commodity and farm."""
        district = self.farm.district
        self.slug = slugify(self.name, allow_unicode=True)[:200]
        self.category_id = self.commodity.category_id
        self.district_id = district.pk
        self.state_id = district.state_id
        self.words = searched_words(self)
