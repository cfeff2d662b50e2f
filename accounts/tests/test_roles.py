"""Roles: what `migrate` grants, and what it leaves alone."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

from accounts.models import GrantedPermission
from accounts.roles import ROLES, find_group
from products.models import Farm

pytestmark = pytest.mark.django_db


def migrate() -> None:
    call_command("migrate", verbosity=0)


def permissions_of(role: str) -> set[str]:
    rows = Group.objects.get(name=role).permissions.select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def add_permission(codename: str) -> str:
    """As a later release would."""
    Permission.objects.create(codename=codename, name=codename, content_type=ContentType.objects.get_for_model(Farm))
    return f"products.{codename}"


def test_migrate_creates_every_role() -> None:
    assert {role.name for role in ROLES} == {
        *("Catalogue editor", "Catalogue viewer", "Webhook operator", "Auditor", "Operator")
    }
    for role in ROLES:
        assert permissions_of(role.name)


def test_only_editors_may_write_the_catalogue() -> None:
    writes = {"products.add_product", "products.change_product", "products.change_farm", "products.add_state"}
    assert writes <= permissions_of("Catalogue editor")
    for role in ROLES[1:]:
        assert not writes & permissions_of(role.name)


def test_no_role_may_delete_or_change_staff() -> None:
    for role in ROLES:
        names = permissions_of(role.name)
        assert not [name for name in names if ".delete_" in name]
        assert not {"accounts.change_user", "accounts.add_user", "auth.change_group", "auth.add_group"} & names


def test_auditor_only_views() -> None:
    names = permissions_of("Auditor")
    assert {"accounts.view_user", "auth.view_group", "accounts.view_apiclient", "products.view_product"} <= names
    assert [name for name in names if ".view_" not in name] == []


def test_migrate_does_not_return_a_permission_taken_away() -> None:
    group = Group.objects.get(name="Catalogue editor")
    group.permissions.remove(Permission.objects.get(codename="change_farm"))
    migrate()
    assert "products.change_farm" not in permissions_of("Catalogue editor")
    assert "products.change_product" in permissions_of("Catalogue editor")


def test_migrate_keeps_a_permission_that_an_administrator_added() -> None:
    Group.objects.get(name="Catalogue viewer").permissions.add(Permission.objects.get(codename="replay_webhookevent"))
    migrate()
    assert "integrations.replay_webhookevent" in permissions_of("Catalogue viewer")


def test_migrate_grants_a_new_permission_once() -> None:
    name = add_permission("view_harvest")
    migrate()
    assert {role.name for role in ROLES if name in permissions_of(role.name)} == {role.name for role in ROLES}
    auditor = Group.objects.get(name="Auditor")
    auditor.permissions.remove(Permission.objects.get(codename="view_harvest"))
    migrate()
    assert name not in permissions_of("Auditor")


def test_migrate_does_not_restore_a_deleted_role() -> None:
    Group.objects.get(name="Auditor").delete()
    name = add_permission("view_harvest")
    migrate()
    assert not Group.objects.filter(name="Auditor").exists()
    assert name in permissions_of("Catalogue viewer")


def test_migrate_completes_a_database_without_roles() -> None:
    before = {role.name: permissions_of(role.name) for role in ROLES}
    Group.objects.all().delete()
    GrantedPermission.objects.all().delete()
    migrate()
    assert {role.name: permissions_of(role.name) for role in ROLES} == before


@pytest.mark.parametrize("text", ["Catalogue editor", "catalogue-editor", "CATALOGUE EDITOR"])
def test_role_is_found_by_each_spelling(text: str) -> None:
    group = find_group(text)
    assert group
    assert group.name == "Catalogue editor"
