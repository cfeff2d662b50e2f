"""manage.py prune: delete old webhooks, changes of the catalogue, files, jobs, and sessions. Run it daily."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from tqdm import tqdm

from farmlokal.jobs.pruning import delete_old_jobs
from integrations.models import KEPT_DAYS, WebhookEvent
from products.files.pruning import delete_old_files
from products.history import pruning

MIN_DAYS, MAX_DAYS = 7, 3650  # senders retry for three days, and later copies must still be recognised
BATCH_SIZE = 1000


class Command(BaseCommand):
    help = (
        "Deletes old webhooks, changes of the catalogue, files of imports and exports, jobs, and expired sessions "
        "of staff. You may interrupt it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        for name, days in (("webhook", KEPT_DAYS), ("history", pruning.KEPT_DAYS)):
            text = f"how long to keep {name} rows, from {MIN_DAYS} to {MAX_DAYS} (%(default)s)"
            parser.add_argument(f"--{name}-days", type=int, default=days, help=text)

    def handle(self, *, webhook_days: int, history_days: int, **_: Any) -> None:
        for name, days in (("webhook", webhook_days), ("history", history_days)):
            if not MIN_DAYS <= days <= MAX_DAYS:
                raise CommandError(f"--{name}-days must be from {MIN_DAYS} to {MAX_DAYS}.")
        now = timezone.now()
        webhooks = WebhookEvent.objects.filter(received_at__lt=now - dt.timedelta(days=webhook_days))
        self._run("webhooks", _prune(webhooks), webhooks.count())
        self._run("changes", pruning.prune(now - dt.timedelta(days=history_days)))
        self._run("files", delete_old_files())
        self._run("jobs", delete_old_jobs())
        call_command("clearsessions")

    def _run(self, name: str, batches: Iterator[int], total: int | None = None) -> None:
        deleted = 0
        with tqdm(total=total, unit=f" {name}", disable=None) as bar:
            for number in batches:
                deleted += number
                bar.update(number)
        self.stdout.write(f"Deleted {deleted:,} {name}.")


def _prune(old: QuerySet[WebhookEvent]) -> Iterator[int]:
    while number := _delete(old):
        yield number


@transaction.atomic
def _delete(old: QuerySet[WebhookEvent]) -> int:
    """Delete a batch, except events that are being replayed. Returns how many it deleted."""
    oldest = old.order_by("received_at").select_for_update(skip_locked=True)
    pks = list(oldest.values_list("pk", flat=True)[:BATCH_SIZE])
    WebhookEvent.objects.filter(pk__in=pks).only("pk").delete()  # without the payloads
    return len(pks)
