"""Which admin site Django's admin is (for INSTALLED_APPS; apps.py may define but one configuration)."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class StaffAdminConfig(AdminConfig):
    default_site = "accounts.admin_site.StaffSite"
