from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest

from accounts.models import ApiClient, User
from farmlokal.admin.model_admin import StaffAdmin

admin.site.unregister(Group)


@admin.register(Group)
class StaffGroupAdmin(StaffAdmin, GroupAdmin):
    pass


@admin.register(User)
class StaffUserAdmin(StaffAdmin, UserAdmin):  # type: ignore[type-arg]
    readonly_fields = ("last_login", "date_joined")


@admin.register(ApiClient)
class ApiClientAdmin(StaffAdmin):
    list_display = ("name", "client_id", "rate", "is_active", "created_at")
    list_filter = ("is_active",)
    search_fields = ("name", "client_id")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiClient | None = None) -> tuple[str, ...]:
        return ("client_id", "created_at") if obj else ()
