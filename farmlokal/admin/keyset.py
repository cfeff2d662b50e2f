"""Base class of admin lists that page by keyset: each page is one range of an index, at any depth.

A subclass reads the page from the URL; nothing else of the URL reaches a queryset. So lookups and sorts that no index
serves cannot be asked for, and no page counts its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from farmlokal.admin.model_admin import StaffAdmin
from farmlokal.admin.paginator import is_across_pages


class Link(NamedTuple):
    text: str
    query: str  # of the URL, without "?"
    is_current: bool = False


class KeysetList(NamedTuple):
    """A page of rows, and all around its table. Queries are without "?"; None if there is no such page."""

    form: forms.Form  # bound to the URL's parameters, with their errors: "q", "sort" and the filters
    rows: Sequence[Any] = ()
    next: str | None = None
    previous: str | None = None
    first: str | None = None
    is_cut: bool = False  # the search was given up before the page was full; the next page continues it
    total: str = ""  # such as "about 37,000"
    total_help: str = ""
    tabs: Sequence[Link] = ()
    views: Sequence[Link] = ()  # saved filters
    chips: Sequence[Link] = ()  # an active filter each; the link removes it

    @property
    def filters(self) -> list[forms.BoundField]:
        return [field for field in self.form.visible_fields() if field.name not in {"q", "sort"}]

    @property
    def is_drawer_open(self) -> bool:
        return any(field.errors for field in self.filters)


class KeysetChangeList(ChangeList):
    """Django's list without its queryset, paginator and filters."""

    search_form_class = forms.Form  # "q" belongs to the list's own form
    formset: Any = None
    page: KeysetList

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        return self.root_queryset

    def get_results(self, request: HttpRequest) -> None:
        owner: Any = self.model_admin
        self.page = owner.read_list(request)
        self.result_list = list(self.page.rows)
        is_whole = self.page.next is None and self.page.previous is None
        # The template shows it after "Select all".
        self.result_count = self.full_result_count = len(self.page.rows) if is_whole else self.page.total  # type: ignore[assignment]
        self.show_admin_actions = bool(self.page.rows)
        self.multi_page = self.can_show_all = False


class KeysetAdmin(StaffAdmin):
    change_list_template = "admin/keyset_change_list.html"
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def read_list(self, request: HttpRequest) -> KeysetList:
        """The page that request.GET describes. Bad parameters become errors of its form, and it has no rows."""
        raise NotImplementedError

    def row_forms(self, request: HttpRequest, rows: Sequence[Any]) -> Any:
        """A formset with a form for each row, or None if rows cannot be edited."""
        return None

    def save_rows(self, request: HttpRequest) -> Any:
        """Save the posted forms of rows. Returns None, or a formset with those that were refused."""
        raise BadRequest("Rows of this list cannot be edited.")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        if request.method == "POST" and "_save" not in request.POST:
            return self._run_action(request)
        if request.method != "POST" and any(not text.strip() for _, texts in request.GET.lists() for text in texts):
            return HttpResponseRedirect(_without_blanks(request))
        refused = self._save(request) if request.method == "POST" else None
        if request.method == "POST" and refused is None:
            return HttpResponseRedirect(request.get_full_path())
        changes: Any = self.get_changelist_instance(request)
        if refused is not None:
            changes.result_list = [form.instance for form in refused.forms]
        elif self.has_change_permission(request):
            refused = self.row_forms(request, changes.result_list)
        changes.formset = refused
        return self._render(request, changes, extra_context or {})

    def _save(self, request: HttpRequest) -> Any:
        if not self.has_change_permission(request):
            raise PermissionDenied
        return self.save_rows(request)

    def _run_action(self, request: HttpRequest) -> HttpResponse:
        """An action on all matches gets no rows: it must read the URL's filters, as the list does."""
        rows = self.get_queryset(request)
        if not request.POST.getlist(ACTION_CHECKBOX_NAME):
            self.message_user(request, "Select rows first. Nothing was changed.", messages.WARNING)
            response = None
        else:
            response = self.response_action(request, rows.none() if is_across_pages(request) else rows)
        return response or HttpResponseRedirect(request.get_full_path())

    def _render(self, request: HttpRequest, changes: Any, extra_context: dict[str, Any]) -> HttpResponse:
        """With Django's own names in the context, because its templates are used."""
        page: KeysetList = changes.page
        media = self.media + page.form.media
        action_form = None
        if self.get_actions(request):
            action_form = self.action_form(auto_id=None)
            action_form.fields["action"].choices = self.get_action_choices(request)
            media += action_form.media
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "module_name": str(self.opts.verbose_name_plural),
            "cl": changes,
            "page": page,
            "opts": self.opts,
            "media": media + changes.formset.media if changes.formset else media,
            "has_add_permission": self.has_add_permission(request),
            "action_form": action_form,
            "actions_on_bottom": self.actions_on_bottom,  # without it, Django's template has an inline style
            "actions_selection_counter": self.actions_selection_counter,
            "selection_note": f"0 of {len(changes.result_list)} selected",
            "selection_note_all": f"All {changes.result_count} selected",
            "preserved_filters": self.get_preserved_filters(request),
            **extra_context,
        }
        request.current_app = self.admin_site.name
        status = HTTPStatus.BAD_REQUEST if page.form.errors else HTTPStatus.OK
        return TemplateResponse(request, self.change_list_template, context, status=status)


def _without_blanks(request: HttpRequest) -> str:
    """The URL without empty parameters: browsers send a form's empty fields too."""
    query = urlencode([(name, text) for name, texts in request.GET.lists() for text in texts if text.strip()])
    return f"{request.path}?{query}" if query else request.path
