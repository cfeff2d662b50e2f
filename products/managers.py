"""Querysets of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import models
from django.db.models import F, Subquery
from django.db.models.sql.datastructures import BaseTable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler


class ProductQuerySet(models.QuerySet[Any]):
    def listed(self) -> Self:
        return self.filter(is_active=True)

    def force_index(self, name: str) -> Self:
        """Reads the product table through this index, whatever the optimizer thinks.

        Left alone, MariaDB takes a deep page's `is_active = 1` for a lookup and reads all that
        comes before the page (194,140 rows instead of 27), and an inner join for a reason to
        start from the smaller table.
        """
        queryset = self.all()
        alias = queryset.query.get_initial_alias()
        queryset.query.alias_map[alias] = _ForcedTable(queryset.model._meta.db_table, alias, name)
        return queryset

    def rows(self) -> models.QuerySet[Any, dict[str, Any]]:
        """The columns behind a public Product, as dictionaries: all that a page needs, in one statement."""
        version = apps.get_model("products", "VocabularyVersion").objects.filter(pk=1).values("version")
        return self.values(
            *("id", "name", "slug", "description", "category_id", "commodity_id", "variety", "grade", "farm_id"),
            *("district_id", "state_id", "price", "unit", "stock", "organic", "created_at", "updated_at"),
            farm_name=F("farm__name"),
            vocabulary_version=Subquery(version),
        )


class _ForcedTable(BaseTable):
    """`table FORCE INDEX (index)` in a FROM clause; Django has no word for it."""

    def __init__(self, table_name: str, alias: str | None, index: str) -> None:
        super().__init__(table_name, alias)
        self.index = index

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        sql, params = super().as_sql(compiler, connection)
        return f"{sql} FORCE INDEX ({connection.ops.quote_name(self.index)})", params

    def relabeled_clone(self, change_map: dict[str | None, str]) -> _ForcedTable:
        return type(self)(self.table_name, change_map.get(self.table_alias, self.table_alias), self.index)
