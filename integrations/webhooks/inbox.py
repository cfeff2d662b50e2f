"""Each event counts once: its row in the log and its effect are committed together, or not at all.

    Redis     done: a duplicate, answered without MySQL. Somebody is at it: 409. Else it is claimed, for seconds.
    MySQL     one transaction: the event's row, under a unique key; its effect; what has come of it.
    Redis     done; or given back, where nothing has come of it.

The claim only spares MySQL the copies. Where Redis is away or has lost it, or its owner is slower than its lease, two
get as far as the row, and one of them finds it locked. A handler that fails is rolled back to before it; the row stays,
with the error, and the next delivery tries again.
"""

from __future__ import annotations

import traceback
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone

from farmlokal.http.problems import Problem
from farmlokal.mysql.errors import is_aborted, is_transient
from farmlokal.mysql.transactions import ROW_IS_LOCKED, atomic_with_retry
from farmlokal.observability.metrics import count_webhook
from integrations.models import MAX_ERROR_LENGTH, MAX_NAME_LENGTH, PARTNER, WebhookEvent
from integrations.webhooks import claims, events, handlers
from products.page_cache import announce_write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integrations.webhooks.events import Event
    from integrations.webhooks.signatures import Delivery

Status = WebhookEvent.Status

DUPLICATE = "duplicate"
MAX_ATTEMPTS = 10
RETRY_SECONDS = 1
HAS_FAILED = "The handler of this event has failed; that is recorded, and the next delivery tries again."
IS_TAKEN = "This event, or its product, is being processed right now."
IS_DEAD = f"This event has failed {MAX_ATTEMPTS} times. It is kept, and tried again only if it is replayed."

logger = structlog.get_logger(__name__)


def receive(delivery: Delivery) -> str:
    """What has come of it: "processed", "superseded", "ignored" or "duplicate".

    Raises Problems: what is wrong with the body, webhook-in-progress, and internal-error where the handler failed.
    After any other error nothing has happened, or all of it: the next delivery finds out.
    """
    event = handlers.checked(events.read(delivery.body))
    try:
        with _locks_as_problems():
            outcome = _claimed(delivery, event)
    except Problem:
        _count(event, "in-progress")
        raise
    _count(event, outcome)
    if outcome in {Status.FAILED, Status.DEAD}:
        raise Problem("internal-error", IS_DEAD if outcome == Status.DEAD else HAS_FAILED)
    return outcome


def replay(pk: int, by: str) -> str:
    """What has come of it, "failed" and "dead" included. One more attempt, through the same code as a delivery, and
    recorded; what is dead, superseded or ignored is tried, too.

    Raises Problems: not-found, webhook-in-progress, and what is wrong with a body that nobody had to read until now.
    """
    with _locks_as_problems():
        webhook_id, outcome = _settle_again(pk, by)
    claims.forget(webhook_id)  # done, for Redis, from when it was ignored; it may have failed now
    return outcome


def _claimed(delivery: Delivery, event: Event) -> str:
    owner, outcome = uuid.uuid4().hex, ""
    state = claims.claim(delivery.webhook_id, owner)
    if state == "done":
        return DUPLICATE
    if state == "taken":
        raise _in_progress()
    try:
        outcome = _settle(delivery, event)
    finally:
        if outcome in {*WebhookEvent.DONE, DUPLICATE}:
            claims.finish(delivery.webhook_id)
        else:
            claims.release(delivery.webhook_id, owner)
    return outcome


@atomic_with_retry
def _settle(delivery: Delivery, event: Event) -> str:
    rows = WebhookEvent.objects.filter(source=PARTNER, webhook_id=delivery.webhook_id).defer("payload", "headers")
    row = rows.first()  # plainly: copies of what is done do not get into each other's way
    if row and row.status not in WebhookEvent.DONE:
        row = rows.select_for_update(nowait=True).first()
    row = row or WebhookEvent(webhook_id=delivery.webhook_id)
    if row.status in WebhookEvent.DONE:
        announce_write()  # where the commit's answer was lost, it may have come after its announcement had ended
        return DUPLICATE
    if row.status == Status.DEAD:
        return Status.DEAD
    _enter(row, delivery, event)
    return _attempt(row, event)


def _enter(row: WebhookEvent, delivery: Delivery, event: Event) -> None:
    """The row says what is tried now. It is locked until the transaction ends: who inserts it too waits for that."""
    row.type, row.payload, row.headers = event.type, delivery.body, delivery.headers
    row.product_id = _product_of(event)
    try:
        row.save()
    except IntegrityError as error:
        raise _in_progress() from error


@atomic_with_retry
def _settle_again(pk: int, by: str) -> tuple[str, str]:
    row = WebhookEvent.objects.select_for_update(nowait=True).filter(pk=pk).first()
    if row is None:
        raise Problem("not-found", "There is no such webhook in the log.")
    event = handlers.checked(events.read(bytes(row.payload)))
    row.product_id = _product_of(event)  # whose type may have been unknown when it came
    outcome = DUPLICATE if row.status == Status.PROCESSED else _attempt(row, event)
    row.replays.create(by=by[:MAX_NAME_LENGTH], outcome=outcome, error=row.error)
    return row.webhook_id, outcome


def _attempt(row: WebhookEvent, event: Event) -> str:
    row.attempts = 1 if row.status in WebhookEvent.DONE else row.attempts + 1  # they count until it is done
    row.attempted_at = timezone.now()
    try:
        with transaction.atomic():
            row.status, row.error = handlers.apply(event), ""
    except Exception as error:  # whatever a handler raises, it is kept with the event
        if is_transient(error):
            raise
        logger.exception("webhook_failed", webhook_id=row.webhook_id, type=event.type)
        row.status = Status.DEAD if row.attempts >= MAX_ATTEMPTS else Status.FAILED
        row.error = _text_of(error)[:MAX_ERROR_LENGTH]
    row.save(update_fields=["attempts", "attempted_at", "product_id", "status", "error"])
    return row.status


def _product_of(event: Event) -> int | None:
    return event.data["product_id"] if event.type in handlers.HANDLERS else None


def _text_of(error: Exception) -> str:
    """Also of one that cannot say what it is."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return text.encode(errors="backslashreplace").decode()


def _count(event: Event, outcome: str) -> None:
    count_webhook(event.type if event.type in handlers.HANDLERS else "other", outcome)


def _in_progress() -> Problem:
    return Problem("webhook-in-progress", IS_TAKEN, headers={"Retry-After": str(RETRY_SECONDS)})


@contextmanager
def _locks_as_problems() -> Iterator[None]:
    """The Problem webhook-in-progress where somebody else has locked the event, or its product."""
    try:
        yield
    except OperationalError as error:
        if is_aborted(error) or error.args[0] in ROW_IS_LOCKED:
            logger.info("webhook_locked", error=str(error))
            raise _in_progress() from error
        raise
