"""Base class of admin lists over tables that are too large to count or to sort. Each shows a window of its matches."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from farmlokal.admin.model_admin import StaffAdmin
from farmlokal.admin.paginator import WINDOW_ROWS, WindowPaginator


class WindowChangeList(ChangeList):
    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Ignore ?o=. An empty sortable_by hides the links only: Django still sorts the whole table for such a URL."""
        self.params.pop(ORDER_VAR, None)
        self.filter_params.pop(ORDER_VAR, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_cut = self.result_count == WINDOW_ROWS
        # Equal counts hide "1000 results (Show all)" beside the search box. That link leads to a window, not to all.
        self.full_result_count = self.result_count


class WindowAdmin(StaffAdmin):
    change_list_template = "admin/window_change_list.html"
    paginator = WindowPaginator
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WindowChangeList
