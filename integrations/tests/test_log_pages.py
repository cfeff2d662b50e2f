"""Pages of the webhook log: which events they show, and how many rows they read for that."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import QuerySet

from dev.testing.databases import rows_read
from integrations.models import WebhookEvent
from integrations.webhooks import log
from integrations.webhooks.log_filters import Filters
from products.listing.cursors import CursorError, seal
from products.listing.listings import Position

EVENTS = 12_000
LIMIT = 100
BUSY_PRODUCT = 7
FIRST_DAY = dt.date(2026, 11, 1)

pytestmark = pytest.mark.usefixtures("_events")


@pytest.fixture(scope="module")
def _events(live_database: None) -> None:
    """A log whose rare events are all among the oldest. Some arrived at the same microsecond."""
    WebhookEvent.objects.bulk_create(_event(number) for number in range(EVENTS))


def at(day: dt.date, hour: int) -> dt.datetime:
    """In India, which is 5:30 ahead of UTC."""
    return dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(hours=hour - 5.5)


def _event(number: int) -> WebhookEvent:
    is_old = number < 600
    return WebhookEvent(
        webhook_id=f"{'old' if is_old else 'msg'}_{number:06}",
        type="product.painted" if is_old and number % 2 else "product.price_changed",
        status="failed" if is_old else "processed",
        product_id=BUSY_PRODUCT if number % 3 == 0 else number,
        payload=b"{}",
        received_at=at(FIRST_DAY, 12) + dt.timedelta(minutes=2 * (number // 2)),
    )


def matches(filters: Filters) -> QuerySet[WebhookEvent]:
    """The same by the ORM."""
    found = WebhookEvent.objects.all()
    if filters.id_prefix:
        found = found.filter(webhook_id__startswith=filters.id_prefix)
    for name, value in [("status", filters.status), ("type", filters.type), ("product_id", filters.product)]:
        if value not in {"", None}:
            found = found.filter(**{name: value})
    if filters.first_day:
        found = found.filter(received_at__gte=at(filters.first_day, 0))
    if filters.last_day:
        found = found.filter(received_at__lt=at(filters.last_day, 24))
    return found.order_by(*("webhook_id", "id") if filters.id_prefix else ("-received_at", "-id"))


def pages(filters: Filters) -> Iterator[list[int]]:
    cursor = ""
    for _ in range(EVENTS):
        page = log.read(filters, cursor, LIMIT)
        yield [row["id"] for row in page.rows]
        if page.next is None:
            return
        cursor = seal(page.next, filters.bound_to())
    raise AssertionError("The walk does not end.")


DAY = FIRST_DAY + dt.timedelta(days=3)
CHOICES: dict[str, list[Any]] = {
    "id_prefix": ["", "msg_0", "old_"],
    "status": ["", "failed", "processed"],
    "type": ["", "product.painted"],
    "product": [None, BUSY_PRODUCT],
    "first_day": [None, DAY],
    "last_day": [None, DAY],
}
COMBINATIONS = [Filters(*values) for values in itertools.product(*CHOICES.values())]


@pytest.mark.parametrize("filters", COMBINATIONS)
def test_walk_shows_each_matching_event_once_in_order(filters: Filters) -> None:
    expected = list(matches(filters).values_list("pk", flat=True))
    assert list(itertools.chain.from_iterable(pages(filters))) == expected


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(status="failed"),
        Filters(type="product.painted"),
        Filters(product=BUSY_PRODUCT),
        Filters(id_prefix="old_"),
        Filters(id_prefix="msg_"),
        Filters(first_day=DAY, last_day=DAY),
        Filters(last_day=DAY),
        Filters(status="failed", last_day=DAY),
        Filters(product=1_000_000),
        Filters(id_prefix="%"),
    ],
)
def test_first_and_40th_page_read_two_entries_a_row(filters: Filters) -> None:
    found = list(matches(filters))
    after = None
    if len(found) > 40 * LIMIT:
        last = found[40 * LIMIT - 1]
        after = Position(getattr(last, filters.sort.field), last.pk)
    for position in {None, after}:
        assert rows_read(lambda: log.find(filters, filters.sort, position, LIMIT + 1)) <= 2 * LIMIT  # noqa: B023


def test_page_without_matches_ends_at_its_budget_and_links_on() -> None:
    filters = Filters(id_prefix="msg_", status="failed")
    reads = rows_read(lambda: log.find(filters, filters.sort, None, LIMIT))
    assert reads <= 4 * log.BUDGET_ROWS  # each entry and its row, twice
    page = log.read(filters, "", LIMIT)
    assert page.rows == []
    assert page.next


def test_walk_goes_back_over_the_same_pages() -> None:
    filters = Filters(status="processed")
    first = log.read(filters, "", LIMIT)
    assert first.next
    second = log.read(filters, seal(first.next, filters.bound_to()), LIMIT)
    assert second.previous
    back = log.read(filters, seal(second.previous, filters.bound_to()), LIMIT)
    assert (back.rows, back.previous) == (first.rows, None)


@pytest.mark.parametrize("text", ["x", "é", "AAAA"])
def test_invalid_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        log.read(Filters(), text, LIMIT)


def test_cursor_of_other_filters_is_refused() -> None:
    page = log.read(Filters(), "", LIMIT)
    assert page.next
    with pytest.raises(CursorError):
        log.read(Filters(status="processed"), seal(page.next, Filters().bound_to()), LIMIT)


def test_count_is_exact_up_to_500_and_an_estimate_above() -> None:
    assert log.count(Filters(type="product.painted")) == (300, True)
    assert log.count(Filters(product=10**9)) == (0, True)
    many = log.count(Filters(status="processed"))
    assert many
    assert not many.is_exact
    assert EVENTS / 3 < many.number < EVENTS * 3
    assert log.count(Filters(status="failed", type="product.painted")) is None
    assert rows_read(lambda: log.count(Filters())) < 2 * log.COUNTED_ROWS
