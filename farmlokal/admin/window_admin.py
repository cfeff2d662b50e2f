"""Base class of admin lists over tables that are too large to count or to sort. Each shows a window of its matches."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from farmlokal.admin.model_admin import StaffAdmin
from farmlokal.admin.paginator import WindowPaginator


class WindowChangeList(ChangeList):
    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Ignore ?o=. An empty sortable_by hides the links only: Django still sorts the whole table for such a URL."""
        self.params.pop(ORDER_VAR, None)
        self.filter_params.pop(ORDER_VAR, None)
        return super().get_queryset(request, exclude_parameters)


class WindowAdmin(StaffAdmin):
    paginator = WindowPaginator
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WindowChangeList
