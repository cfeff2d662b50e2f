"""The roles of staff. Each is a Django group, and this is the only list of their permissions.

Django creates permissions after all migrations, so no migration can grant them. `migrate` therefore ends with
grant_new_permissions(). It grants each permission once and records that, so it undoes no change by an administrator.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from django.apps import AppConfig
from django.contrib.auth.models import Group
from django.db import transaction


class Role(NamedTuple):
    name: str
    permissions: tuple[str, ...]  # app_label.codename; * stands for any characters

    def includes(self, permission: str) -> bool:
        return any(fnmatchcase(permission, pattern) for pattern in self.permissions)


CATALOGUE_MODELS = ("category", "commodity", "district", "farm", "product", "state")
VIEW_CATALOGUE = ("products.view_*", "farmlokal.view_job")  # view_* includes models that later releases add

ROLES = (
    Role(
        "Catalogue editor",
        (
            *VIEW_CATALOGUE,
            *(f"products.add_{model}" for model in CATALOGUE_MODELS),
            *(f"products.change_{model}" for model in CATALOGUE_MODELS),
        ),
    ),
    Role("Catalogue viewer", VIEW_CATALOGUE),
    Role("Webhook operator", (*VIEW_CATALOGUE, "integrations.view_*", "integrations.replay_webhookevent")),
    Role("Auditor", ("*.view_*",)),
    Role(
        "Operator",
        (
            *VIEW_CATALOGUE,
            "integrations.view_*",
            "accounts.view_apiclient",
            "accounts.change_apiclient",
            "farmlokal.view_operations",
            "farmlokal.force_breaker",
        ),
    ),
)


def grant_new_permissions(sender: AppConfig, apps: Any, using: str, **_: Any) -> None:
    """Give the roles those permissions of one app that they have not received before. Receives post_migrate."""
    try:
        granted = apps.get_model("accounts", "GrantedPermission").objects.using(using)
    except LookupError:  # migrated back to a time before roles
        return
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    found = {f"{sender.label}.{row.codename}": row for row in permissions.filter(content_type__app_label=sender.label)}
    for role in ROLES:
        before = set(granted.filter(role=role.name).values_list("permission", flat=True))
        new = [name for name in found if role.includes(name) and name not in before]
        if not new:
            continue
        with transaction.atomic(using):
            groups = apps.get_model("auth", "Group").objects.using(using)
            if not before:
                groups.get_or_create(name=role.name)
            for group in groups.filter(name=role.name):  # none if it was deleted or renamed
                group.permissions.add(*(found[name] for name in new))
            granted.bulk_create([granted.model(role=role.name, permission=name) for name in new])


def find_group(text: str) -> Group | None:
    """A group by its name; case does not count, and "catalogue-editor" is the same as "Catalogue editor"."""
    return next((group for group in Group.objects.all() if _key(group.name) == _key(text)), None)


def _key(name: str) -> str:
    return name.casefold().replace("-", " ")
