"""Every text column stores every character, with any default character set of the database."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dev.testing.databases import Database, migrated_database

TEXT = "ताज़ा 🥭 ₹45"
WRITE = f"""
import json
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from accounts.models import ApiClient, User
from integrations.models import WebhookEvent
from products import services
from products.models import Commodity, District, Farm, Product
text = {TEXT!r}
farm = Farm.objects.create(name=text, district=District.objects.first())
mango = Commodity.objects.get(slug="mango")
product = services.create(
    name=text, description=text, variety=text, commodity=mango, farm=farm, grade="A", price=45, unit="kg"
)
user = User.objects.create(username="आशा", first_name=text, last_name=text)
Group.objects.create(name=text)
LogEntry.objects.create(user=user, object_repr=text, change_message=text, action_flag=1)
ApiClient.objects.create(client_id="demo", name=text)
WebhookEvent.objects.create(webhook_id="1", type=text, error=text, payload=b"", headers={{"x": text}})
answer = Client(headers={{"host": "localhost"}}).get("/products?q=%E0%A4%A4%E0%A4%BE%E0%A4%9C%E0%A4%BC%E0%A4%BE")
print(json.dumps(answer.json()["results"]))
"""
# Changes that turn tables into those of earlier versions, which took the character set of the database.
OLDER = {
    "auth_group": "DEFAULT CHARACTER SET latin1, MODIFY name VARCHAR(150) CHARACTER SET latin1 NOT NULL",
    "django_admin_log": "DEFAULT CHARACTER SET utf8mb3, MODIFY object_id LONGTEXT CHARACTER SET utf8mb3 NULL",
    "products_product": "DEFAULT CHARACTER SET latin1, MODIFY variety VARCHAR(100) CHARACTER SET latin1 NOT NULL",
    "accounts_user_groups": "DEFAULT CHARACTER SET latin1",
}


@pytest.fixture
def latin1(live_database: None) -> Iterator[Database]:
    with migrated_database("latin1") as database:
        yield database


def definitions(database: Database) -> set[tuple[str, ...]]:
    """Each column's type, and the collation for columns that later migrations add."""
    return {
        *database.rows(
            "SELECT table_name, column_name, column_type, is_nullable, column_default, collation_name"
            " FROM information_schema.columns WHERE table_schema = DATABASE()"
        ),
        *database.rows(
            "SELECT table_name, table_collation FROM information_schema.tables WHERE table_schema = DATABASE()"
        ),
    }


def test_latin1_database_stores_every_character(latin1: Database) -> None:
    (product,) = json.loads(latin1.python(WRITE))
    assert {product["name"], product["description"], product["variety"], product["farm"]["name"]} == {TEXT}
    sql = "SELECT DISTINCT character_set_name FROM information_schema.columns WHERE table_schema = DATABASE()"
    assert set(latin1.rows(sql)) == {("utf8mb4",), (None,)}


def test_older_tables_are_converted_with_their_text(latin1: Database) -> None:
    latin1.rows("INSERT INTO auth_group (name) VALUES ('crème')")
    expected = definitions(latin1)
    for table, changes in OLDER.items():
        latin1.rows(f"ALTER TABLE {table} {changes}")
    assert definitions(latin1) != expected
    latin1.manage("migrate", "farmlokal", "zero")
    latin1.manage("migrate", "farmlokal")
    assert definitions(latin1) == expected
    assert latin1.rows("SELECT name FROM auth_group WHERE name LIKE 'cr%'") == (("crème",),)
