"""The farms that offer products."""

from __future__ import annotations

from typing import Any

from django.db import models

from farmlokal.mysql.transactions import atomic_with_retry
from products.catalogue_cache import announce_write
from products.history.records import ChangeRecords
from products.models.collations import NAME_COLLATION
from products.models.names import Named
from products.models.vocabulary import District
from products.validators import validate_line


class Farm(Named):
    product_field = "farm"

    name = models.CharField(max_length=150, db_collation=NAME_COLLATION, validators=[validate_line])
    district = models.ForeignKey(District, models.PROTECT, related_name="farms")

    history = ChangeRecords()

    class Meta:
        indexes = (models.Index(fields=["name", "id"], name="farm_name"),)

    def __str__(self) -> str:
        return self.name

    @atomic_with_retry
    def save(self, **kwargs: Any) -> None:
        announce_write()
        super().save(**kwargs)
