"""The admin pages of staff, roles and API clients."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import ApiClient, User
from farmlokal.admin.model_admin import StaffAdmin

admin.site.unregister(Group)


class SuperuserAdmin(StaffAdmin):
    """Only superusers write. Others who may change users could make themselves superusers."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser


@admin.register(Group)
class StaffGroupAdmin(SuperuserAdmin, GroupAdmin):
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """A page that is only read names each permission by its content type."""
        return super().get_queryset(request).prefetch_related("permissions__content_type")


@admin.register(User)
class StaffUserAdmin(SuperuserAdmin, UserAdmin):  # type: ignore[type-arg]
    readonly_fields = ("last_login", "date_joined")

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Without the password for readers: Django shows a part of its hash, and a button to reset it."""
        fieldsets = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj):
            return fieldsets
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name != "password"]})
            for title, options in fieldsets
        ]


@admin.register(ApiClient)
class ApiClientAdmin(StaffAdmin):
    """Clients are switched off, not deleted: the history still names them."""

    list_display = ("name", "client_id", "rate", "is_active", "created_at")
    list_filter = ("is_active",)
    search_fields = ("name", "client_id")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiClient | None = None) -> tuple[str, ...]:
        return ("client_id", "created_at") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: ApiClient | None = None) -> bool:
        return False
