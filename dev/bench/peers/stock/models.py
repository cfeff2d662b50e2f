"""The catalogue's tables, with the columns that a page shows."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Entry(models.Model):
    slug = models.SlugField()
    name = models.CharField(max_length=100)

    class Meta:
        abstract = True
        managed = False

    def __str__(self) -> str:
        return self.name


class Category(Entry):
    class Meta(Entry.Meta):
        db_table = "products_category"


class Commodity(Entry):
    class Meta(Entry.Meta):
        db_table = "products_commodity"


class District(Entry):
    class Meta(Entry.Meta):
        db_table = "products_district"


class State(Entry):
    class Meta(Entry.Meta):
        db_table = "products_state"


class Farm(models.Model):
    name = models.CharField(max_length=150)

    class Meta:
        managed = False
        db_table = "products_farm"

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=200)
    description = models.TextField()
    category = models.ForeignKey(Category, models.PROTECT)
    commodity = models.ForeignKey(Commodity, models.PROTECT)
    variety = models.CharField(max_length=100)
    grade = models.CharField(max_length=1)
    farm = models.ForeignKey(Farm, models.PROTECT)
    district = models.ForeignKey(District, models.PROTECT)
    state = models.ForeignKey(State, models.PROTECT)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    unit = models.CharField(max_length=10)
    stock = models.PositiveIntegerField()
    organic = models.BooleanField()
    is_active = models.BooleanField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    currency = "INR"
    objects: ClassVar[models.Manager[Product]] = models.Manager()

    class Meta:
        managed = False
        db_table = "products_product"

    def __str__(self) -> str:
        return self.name

    @property
    def in_stock(self) -> bool:
        return self.stock > 0
