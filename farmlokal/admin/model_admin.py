"""Base class of all admin pages. A malformed request gets a 4xx or a form error, not a 500."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import BadRequest, ValidationError
from django.db.models import ForeignKey, Model, QuerySet
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from farmlokal.admin.dashboard import Change, Fact


def is_key(text: str, model: type[Model]) -> bool:
    try:
        model._meta.pk.to_python(text)
    except ValidationError:
        return False
    return True


class KeySelect(AutocompleteSelect):
    """Ignores values that are no keys; Django's widget raises ValueError for "abc"."""

    def optgroups(self, name: str, value: Sequence[str], attr: dict[str, Any] | None = None) -> Any:
        keys = [text for text in value if is_key(text, self.field.remote_field.model)]
        return super().optgroups(name, keys, attr)


class ReadOnly:
    """For models and inlines that staff only view."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class StaffAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    actions_on_top = False
    actions_on_bottom = True  # where the bar stays in sight
    empty_value_display = ""  # on phones, a card leaves out its empty cells

    def index_facts(self, request: HttpRequest) -> Sequence[Fact]:
        """What the overview says about this model to a user who may view it. Read few rows."""
        return ()

    def index_changes(self, request: HttpRequest) -> Sequence[Change]:
        """The newest changes for the overview, of all that this user may view."""
        return ()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}  # Django's is "Select user to change"
        return super().changelist_view(request, title | (extra_context or {}))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow only what the list's own filters send. Django allows any lookup of any field, and fails for some."""
        names = [getattr(item, "parameter_name", item) for item in self.list_filter]
        return any(lookup in {name, f"{name}__exact", f"{name}__id__exact", f"{name}__isnull"} for name in names)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        return super().get_object(request, object_id, from_field or None)  # "" from "?_to_field=" would raise

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = KeySelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def response_action(  # type: ignore[override]  # the stubs describe a later Django
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        if not all(is_key(text, self.model) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest(f"{ACTION_CHECKBOX_NAME} is not a key.")
        return super().response_action(request, queryset)
