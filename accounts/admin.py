from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from accounts.models import ApiClient, User

if TYPE_CHECKING:
    from django.http import HttpRequest

admin.site.register(User, UserAdmin)


@admin.register(ApiClient)
class ApiClientAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "client_id", "rate", "is_active", "created_at")
    list_filter = ("is_active",)
    search_fields = ("name", "client_id")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiClient | None = None) -> tuple[str, ...]:
        return ("client_id", "created_at") if obj else ()
