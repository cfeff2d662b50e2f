from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import schema  # noqa: F401, PLC0415  # registers itself
        from accounts.roles import grant_new_permissions  # noqa: PLC0415  # needs the app registry

        post_migrate.connect(grant_new_permissions)  # after that of django.contrib.auth, which creates the permissions


class StaffAdminConfig(admin_apps.AdminConfig):
    """django.contrib.admin with our site, for INSTALLED_APPS."""

    default = False  # INSTALLED_APPS names it
    default_site = "accounts.admin_site.StaffSite"
