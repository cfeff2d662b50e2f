"""The fixed lists that products refer to, and the version of their names."""

from __future__ import annotations

import secrets
from typing import Any

from django.db import models, transaction

from products.catalogue_cache import announce_write
from products.history.records import ChangeRecords
from products.models.collations import BINARY_COLLATION, NAME_COLLATION
from products.models.names import Named
from products.validators import validate_line


def new_version() -> int:
    """Random, because a counter could repeat a version after a rollback or a restored backup."""
    return secrets.randbits(63)


class VocabularyVersion(models.Model):
    """One row whose number changes with every name that pages show.

    A page reads it in its own statement. So a process knows whether the names that it holds in memory
    (products/vocabulary.py) belong to the page's snapshot.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=new_version)

    def __str__(self) -> str:
        return str(self.version)

    @classmethod
    def bump(cls) -> None:
        cls.objects.update_or_create(pk=1, defaults={"version": new_version()})


class VocabularyEntry(Named):
    name = models.CharField(max_length=100, db_collation=NAME_COLLATION, validators=[validate_line])
    slug = models.SlugField(max_length=120, unique=True, db_collation=BINARY_COLLATION)

    history = ChangeRecords(inherit=True)

    class Meta:
        abstract = True
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: Any) -> None:
        with transaction.atomic():
            announce_write()
            super().save(**kwargs)
            VocabularyVersion.bump()


class Category(VocabularyEntry):
    """A commodity group of AGMARKNET, such as Spices."""

    class Meta(VocabularyEntry.Meta):
        verbose_name_plural = "categories"


class Commodity(VocabularyEntry):
    """A crop or another farm product, such as Turmeric."""

    product_field = "commodity"
    category = models.ForeignKey(Category, models.PROTECT, related_name="commodities")

    class Meta(VocabularyEntry.Meta):
        verbose_name_plural = "commodities"


class State(VocabularyEntry):
    product_field = "state"


class District(VocabularyEntry):
    product_field = "district"
    state = models.ForeignKey(State, models.PROTECT, related_name="districts")
