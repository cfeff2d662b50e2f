from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import schema  # noqa: F401, PLC0415  # registers itself


class StaffAdminConfig(admin_apps.AdminConfig):
    """django.contrib.admin with our site, for INSTALLED_APPS."""

    default = False  # INSTALLED_APPS names it
    default_site = "accounts.admin_site.StaffSite"
