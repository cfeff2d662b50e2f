"""Each event has its effect once: its row in the log and its effect are committed together, or not at all.

    Redis     The event is done: answer "duplicate" without MySQL. Another process works on it: 409. Otherwise claim it.
    MySQL     One transaction: the event's row, under a unique key, as if it were processed; its effect.
    Redis     The event is done; or release the claim, if the transaction failed.

The claim only saves work. If Redis is away or has lost it, or a process is slower than its lease, two processes reach
MySQL. All of them take their locks in one order, first the event's row, then the product. So a copy waits at its INSERT
until the first process ends:

- The first commits: the INSERT finds the row. A second transaction reads it, and answers "duplicate".
- The first rolls back, or is killed: the INSERT succeeds, and the copy is processed.
- The handler fails: the transaction is rolled back, and a second one stores the row with the error. In between, a copy
  may have stored the row. If it is done, this delivery is a duplicate; if it failed, this is one more attempt.

The next delivery of a failed event finds the row, locks it, and tries again.
"""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog
from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone

from farmlokal.acting import acting_as
from farmlokal.http.problems import Problem
from farmlokal.mysql.errors import is_aborted, is_transient
from farmlokal.mysql.transactions import atomic_once, atomic_with_retry
from farmlokal.observability.metrics import count_webhook, expect_webhooks, observe_webhook_delay
from integrations.models import MAX_ERROR_LENGTH, MAX_NAME_LENGTH, PARTNER, WebhookEvent
from integrations.webhooks import claims, handlers
from integrations.webhooks.events import Event, read_event
from integrations.webhooks.signatures import Delivery
from products.catalogue_cache import announce_write

Status = WebhookEvent.Status

DUPLICATE = "duplicate"
MAX_ATTEMPTS = 10
RETRY_SECONDS = 1
HAS_FAILED = "The handler of this event failed. The failure is logged; the next delivery tries again."
IS_TAKEN = "This event, or its product, is being processed right now."
IS_DEAD = f"This event has failed {MAX_ATTEMPTS} times. Only a replay tries it again."

logger = structlog.get_logger(__name__)

for _type in handlers.HANDLERS:
    for _status in (Status.FAILED, Status.DEAD):
        expect_webhooks(_type, _status)


def receive(delivery: Delivery) -> str:
    """The outcome: "processed", "superseded", "ignored" or "duplicate".

    Raises bad-request, invalid-parameter, webhook-in-progress, and internal-error if the handler failed. After any
    other error the transaction may have been committed or not; the next delivery finds out.
    """
    event = read_event(delivery.body)
    try:
        with _locks_as_problems(), acting_as(PARTNER):
            outcome = _claim_and_process(delivery, event)
    except Problem:
        _count(event, "in-progress")
        raise
    _count(event, outcome)
    if outcome in {Status.FAILED, Status.DEAD}:
        raise Problem("internal-error", IS_DEAD if outcome == Status.DEAD else HAS_FAILED)
    return outcome


def replay(pk: int, by: str) -> str:
    """Try an event again in any status but processed, and log that. The outcome may be "failed" or "dead", too.

    Raises not-found, webhook-in-progress, and the problems of a body that no handler has read yet.
    """
    with _locks_as_problems(), acting_as(by):
        webhook_id, outcome = process_again(pk, by)
    claims.forget(webhook_id)  # Redis may know it as done, since it was ignored; it may have failed now
    return outcome


def _claim_and_process(delivery: Delivery, event: Event) -> str:
    owner, outcome = uuid.uuid4().hex, ""
    state = claims.claim(delivery.webhook_id, owner)
    if state == "done":
        return DUPLICATE
    if state == "taken":
        raise _in_progress()
    try:
        outcome = _process(delivery, event)
    finally:
        if outcome in {*WebhookEvent.DONE, DUPLICATE}:
            claims.finish(delivery.webhook_id)
        else:
            claims.release(delivery.webhook_id, owner)
    return outcome


class _HandlerError(Exception):
    """The handler failed, and not by a transient error."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason


def _process(delivery: Delivery, event: Event) -> str:
    failure = None
    try:
        return _process_new(delivery, event)
    except IntegrityError:
        pass  # the event has a row already
    except _HandlerError as error:
        failure = error.reason
    return _process_known(delivery, event, failure)


@atomic_once
def _process_new(delivery: Delivery, event: Event) -> str:
    """In as few statements as possible. Raises IntegrityError if the event has a row, and _HandlerError."""
    row = WebhookEvent(webhook_id=delivery.webhook_id, status=Status.PROCESSED, attempts=1)
    _save(row, delivery, event)
    status = _apply(event)
    if status != row.status:
        row.status = status
        row.save(update_fields=["status"])
    return status


def _apply(event: Event) -> WebhookEvent.Status:
    try:
        status = handlers.apply(event.type, event.data)
    except Exception as error:  # a handler may raise anything
        if is_transient(error):
            raise
        raise _HandlerError(error) from error
    if status == Status.PROCESSED:
        transaction.on_commit(partial(_observe_delay, event))
    return status


def _observe_delay(event: Event) -> None:
    observe_webhook_delay((timezone.now() - event.happened_at).total_seconds())


@atomic_with_retry
def _process_known(delivery: Delivery, event: Event, failure: Exception | None = None) -> str:
    """failure: the handler's error, if it has run already, in a transaction that was rolled back."""
    rows = WebhookEvent.objects.filter(source=PARTNER, webhook_id=delivery.webhook_id).defer("payload", "headers")
    row = rows.first()  # without a lock, so that copies of a finished event do not wait for each other
    if row and row.status not in WebhookEvent.DONE:
        row = rows.select_for_update(nowait=True).first()
    row = row or WebhookEvent(webhook_id=delivery.webhook_id)
    if row.status in WebhookEvent.DONE:
        announce_write()  # if the commit's reply was lost, its announcement may have expired before the commit
        return DUPLICATE
    if row.status == Status.DEAD:
        return Status.DEAD
    try:
        _save(row, delivery, event)
    except IntegrityError as error:
        raise _in_progress() from error
    return _attempt(row, event, failure)


def _save(row: WebhookEvent, delivery: Delivery, event: Event) -> None:
    """Locks the row until the transaction ends; another process that inserts it waits until then."""
    row.type, row.payload, row.headers = event.type, delivery.body.encode(), delivery.headers
    row.product_id = event.product_id
    row.save()


@atomic_with_retry
def process_again(pk: int, by: str) -> tuple[str, str]:
    """(webhook-id, outcome), as replay(). In a longer transaction, call claims.forget() after its commit."""
    row = WebhookEvent.objects.select_for_update(nowait=True).filter(pk=pk).first()
    if row is None:
        raise Problem("not-found", "There is no such webhook in the log.")
    event = read_event(bytes(row.payload).decode())
    row.product_id = event.product_id  # the type may have been unknown before
    outcome = DUPLICATE if row.status == Status.PROCESSED else _attempt(row, event)
    row.replays.create(by=by[:MAX_NAME_LENGTH], outcome=outcome, error=row.error)
    return row.webhook_id, outcome


def _attempt(row: WebhookEvent, event: Event, failure: Exception | None = None) -> str:
    row.attempts = 1 if row.status in WebhookEvent.DONE else row.attempts + 1
    row.attempted_at = timezone.now()
    try:
        if failure is None:
            with transaction.atomic():  # a failure rolls back the effect, and keeps the row locked
                row.status, row.error = _apply(event), ""
    except _HandlerError as error:
        failure = error.reason
    if failure:
        logger.error("webhook_failed", webhook_id=row.webhook_id, type=event.type, exc_info=failure)
        row.status = Status.DEAD if row.attempts >= MAX_ATTEMPTS else Status.FAILED
        row.error = _error_text(failure)[:MAX_ERROR_LENGTH]
    row.save(update_fields=["attempts", "attempted_at", "product_id", "status", "error"])
    return row.status


def _error_text(error: Exception) -> str:
    """Works even if the error's __str__ fails."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return text.encode(errors="backslashreplace").decode()


def _count(event: Event, outcome: str) -> None:
    count_webhook(event.type if event.is_known else "other", outcome)


def _in_progress() -> Problem:
    return Problem("webhook-in-progress", IS_TAKEN, retry_after=RETRY_SECONDS)


@contextmanager
def _locks_as_problems() -> Iterator[None]:
    """Raises webhook-in-progress if another transaction holds a lock on the event or its product."""
    try:
        yield
    except OperationalError as error:
        if is_aborted(error):
            logger.info("webhook_locked", error=str(error))
            raise _in_progress() from error
        raise
