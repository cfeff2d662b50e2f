"""manage.py prune deletes old changes in short transactions, and may be killed at any time."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import OperationalError, transaction
from django.utils import timezone

from dev.testing.databases import is_statement_running, rows_read
from dev.testing.waiting import wait_until
from products.history.pruning import BATCH_ROWS, KEPT_DAYS, prune
from products.models import Farm, Product

pytestmark = pytest.mark.usefixtures("live_database")

TABLE = Product.history.model


@pytest.fixture(autouse=True)
def _no_history(live_database: None) -> Iterator[None]:
    yield
    TABLE.objects.all().delete()
    Farm.history.all().delete()


def add_changes(number: int, days_old: float) -> None:
    at = timezone.now() - dt.timedelta(days=days_old)
    shared = {"name": "Mango", "history_date": at, "history_type": "~", "history_user_id": "system"}
    rows = [TABLE(id=n % 7, price=n, farm_id=1, commodity_id=1, **shared) for n in range(number)]
    TABLE.objects.bulk_create(rows, batch_size=500)


def is_locked() -> bool:
    try:
        with transaction.atomic():
            list(TABLE.objects.select_for_update(nowait=True).values_list("pk"))
    except OperationalError:
        return True
    return False


def test_only_old_changes_are_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    add_changes(2 * BATCH_ROWS + 5, KEPT_DAYS + 0.01)
    add_changes(3, KEPT_DAYS - 0.01)
    Farm.history.model.objects.create(
        id=1, name="Farm", history_date=timezone.now() - dt.timedelta(days=KEPT_DAYS + 1), history_type="~"
    )
    call_command("prune")
    assert f"Deleted {2 * BATCH_ROWS + 6:,} changes." in capsys.readouterr().out
    assert TABLE.objects.count() == 3
    assert not Farm.history.exists()
    call_command("prune", "--history-days", "7")
    assert TABLE.objects.count() == 0


def test_batches_read_only_the_oldest_rows() -> None:
    add_changes(5 * BATCH_ROWS, 1)
    assert rows_read(lambda: list(prune(timezone.now() - dt.timedelta(days=KEPT_DAYS)))) < BATCH_ROWS + 50
    batches = prune(timezone.now())
    assert rows_read(lambda: next(batches)) < 3 * BATCH_ROWS
    assert TABLE.objects.count() == 4 * BATCH_ROWS


def test_killed_command_leaves_whole_batches(database_environment: dict[str, str]) -> None:
    add_changes(4 * BATCH_ROWS, KEPT_DAYS + 1)
    add_changes(3, 1)
    third_batch = TABLE.objects.order_by("history_id").values_list("pk", flat=True)[2 * BATCH_ROWS + 500]
    with transaction.atomic():
        TABLE.objects.select_for_update().get(pk=third_batch)
        with subprocess.Popen([sys.executable, "manage.py", "prune"], env=database_environment) as command:
            wait_until(lambda: TABLE.objects.count() == 2 * BATCH_ROWS + 3)
            wait_until(lambda: is_statement_running("DELETE FROM `products_historicalproduct`"))
            command.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_locked())  # the server needs a while to notice that its client is gone
    # The server may still have ended the statement that waited for the lock.
    assert TABLE.objects.count() in {2 * BATCH_ROWS + 3, BATCH_ROWS + 3}
    call_command("prune")
    assert TABLE.objects.count() == 3
