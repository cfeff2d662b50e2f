"""DATABASE_FOREIGN_KEYS=off: a schema without constraints, for servers that refuse them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from dev.testing.databases import Database, migrated_database

CONSTRAINTS = (
    "SELECT table_name, constraint_name FROM information_schema.table_constraints"
    " WHERE table_schema = DATABASE() AND constraint_type = 'FOREIGN KEY'"
)
# The first column of each index. MySQL creates an index for a foreign key.
INDEXED = (
    "SELECT DISTINCT table_name, column_name FROM information_schema.statistics"
    " WHERE table_schema = DATABASE() AND seq_in_index = 1"
)
USE = """
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.db.models import ProtectedError
from django.test import Client
from accounts.models import User
from dev.testing.jobs import finish
from integrations.models import WebhookEvent, WebhookReplay
from products import services
from products.models import Commodity, Farm, Posting, Product

def ids(query):
    results = Client(headers={"host": "localhost"}).get(f"/products?{query}").json()["results"]
    return [product["id"] for product in results]

def is_protected(entry):
    try:
        entry.delete()
    except ProtectedError:
        return True

mango, farm = Commodity.objects.get(slug="mango"), Farm.objects.first()
product = services.create(name="Zebra mango", commodity=mango, farm=farm, grade="A", price=45, unit="kg")
assert ids("q=zebra&commodity=mango") == [product.pk]
farm.name = "Zubin Orchards"
farm.save()
finish(farm.reindexing)
assert product.pk in ids("q=zubin")
services.withdraw(product.pk)
assert ids("q=zebra") == []
assert all(is_protected(entry) for entry in (mango, farm, mango.category, farm.district, farm.district.state))
user = User.objects.create(username="asha")
user.groups.add(Group.objects.create(name="staff"))
assert user.groups.exists() and user.groups.count() == 1
LogEntry.objects.create(user=user, action_flag=1)
event = WebhookEvent.objects.create(webhook_id="1", payload=b"")
event.replays.create(by="asha", outcome="processed")
user.delete()
event.delete()
assert not (LogEntry.objects.exists() or User.groups.through.objects.exists() or WebhookReplay.objects.exists())
"""


@pytest.fixture(scope="module")
def unconstrained(live_database: None) -> Iterator[Database]:
    with migrated_database(DATABASE_FOREIGN_KEYS="off") as database:
        yield database


def test_tables_have_indexes_but_no_constraints(unconstrained: Database) -> None:
    usual = Database(connection.settings_dict["NAME"], {})
    assert usual.rows(CONSTRAINTS)
    assert unconstrained.rows(CONSTRAINTS) == ()
    assert set(unconstrained.rows(INDEXED)) == set(usual.rows(INDEXED))


def test_seeder_and_service_work_without_constraints(unconstrained: Database) -> None:
    indexed = unconstrained.rows(INDEXED)
    for _ in range(2):
        unconstrained.manage("seed_products", "300", "--reset")
    assert unconstrained.rows(CONSTRAINTS) == ()
    assert set(unconstrained.rows(INDEXED)) == set(indexed)
    unconstrained.python(USE)
    unconstrained.manage("reindex_search")
    assert "No changes detected" in unconstrained.manage("makemigrations", "--check", "--dry-run")
