"""The admin's own log stays cheap to read, however much staff have changed."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from accounts.models import ApiClient, User
from dev.testing.databases import migrated_database, rows_read
from dev.testing.offers import make_offer
from products.models import Product

# The columns of each index, and how many characters of the last one it contains, if not all.
INDEXED = (
    "SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index), MAX(sub_part) FROM information_schema.statistics"
    " WHERE table_schema = DATABASE() AND table_name = 'django_admin_log' GROUP BY index_name"
)


@pytest.fixture
def product(admin_user: User) -> Product:
    """With five of 5,000 changes, all by one user."""
    product = make_offer()
    products = ContentType.objects.get_for_model(Product)
    LogEntry.objects.bulk_create(
        LogEntry(user=admin_user, content_type=products, object_id=str(product.pk + n // 5), action_flag=CHANGE)
        for n in range(5000)
    )
    return product


@pytest.mark.usefixtures("product")
def test_front_page_reads_only_the_entries_it_shows(admin_client: Client) -> None:
    page = admin_client.get("/admin/")
    assert page.content.decode().count('<li class="changelink">') == 10
    assert rows_read(lambda: admin_client.get("/admin/")) < 50


def test_history_of_a_client_reads_only_its_entries(admin_client: Client, admin_user: User) -> None:
    shop = ApiClient.objects.create(client_id="shop", name="A shop")
    clients = ContentType.objects.get_for_model(ApiClient)
    LogEntry.objects.bulk_create(
        LogEntry(user=admin_user, content_type=clients, object_id=str(shop.pk + n // 5), action_flag=CHANGE)
        for n in range(5000)
    )
    url = f"/admin/accounts/apiclient/{shop.pk}/history/"
    page = admin_client.get(url)
    assert len(page.context["action_list"]) == 5
    assert rows_read(lambda: admin_client.get(url)) < 50


@pytest.mark.usefixtures("live_database")
@pytest.mark.parametrize("foreign_keys", ["on", "off"])
def test_indexes_can_be_removed_and_added_again(foreign_keys: str) -> None:
    with migrated_database(DATABASE_FOREIGN_KEYS=foreign_keys) as database:
        with_ours = database.rows(INDEXED)
        assert {("user_id,action_time", None), ("content_type_id,object_id", 20)} <= set(with_ours)
        for _ in range(2):
            database.manage("migrate", "accounts", "0003")
            assert {columns for columns, _ in database.rows(INDEXED)} == {"id", "user_id", "content_type_id"}
            database.manage("migrate", "accounts")
            assert set(with_ours) <= set(database.rows(INDEXED))
