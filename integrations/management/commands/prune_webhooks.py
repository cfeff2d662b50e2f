"""manage.py prune_webhooks: delete old events from the log of webhooks. Run it daily."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from tqdm import tqdm

from integrations.models import KEPT_DAYS, WebhookEvent

MIN_DAYS, MAX_DAYS = 7, 3650  # senders retry for three days, and later copies must still be recognised
BATCH_SIZE = 1000


class Command(BaseCommand):
    help = f"Deletes events that arrived more than {KEPT_DAYS} days ago. You may interrupt it and run it again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=KEPT_DAYS, help="how long to keep events (%(default)s)")

    def handle(self, *, days: int, **_: Any) -> None:
        if not MIN_DAYS <= days <= MAX_DAYS:
            raise CommandError(f"--days must be from {MIN_DAYS} to {MAX_DAYS}: senders retry for three days")
        old = WebhookEvent.objects.filter(received_at__lt=timezone.now() - dt.timedelta(days=days))
        deleted = 0
        with tqdm(total=old.count(), unit=" webhooks", disable=None) as bar:
            while number := _delete(old):
                deleted += number
                bar.update(number)
        self.stdout.write(f"Deleted {deleted:,} webhooks.")


@transaction.atomic
def _delete(old: QuerySet[WebhookEvent]) -> int:
    """Delete a batch, except events that are being replayed. Returns how many it deleted."""
    oldest = old.order_by("received_at").select_for_update(skip_locked=True)
    pks = list(oldest.values_list("pk", flat=True)[:BATCH_SIZE])
    WebhookEvent.objects.filter(pk__in=pks).only("pk").delete()  # without the payloads
    return len(pks)
