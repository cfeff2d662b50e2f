"""manage.py prune_webhooks: takes away what is old in the log of webhooks. For a daily job."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone
from tqdm import tqdm

from integrations.models import KEPT_DAYS, WebhookEvent

if TYPE_CHECKING:
    from django.core.management.base import CommandParser
    from django.db.models import QuerySet

LEAST_DAYS, MOST_DAYS = 7, 3650  # senders try for three days; what comes again after that shall still be known
AT_ONCE = 1000


class Command(BaseCommand):
    help = f"Deletes from the log what came more than {KEPT_DAYS} days ago. It may be interrupted and run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=KEPT_DAYS, help="how long they are kept (%(default)s)")

    def handle(self, *, days: int, **_: Any) -> None:
        if not LEAST_DAYS <= days <= MOST_DAYS:
            raise CommandError(f"--days must be from {LEAST_DAYS} to {MOST_DAYS}: senders try again for three days")
        old = WebhookEvent.objects.filter(received_at__lt=timezone.now() - dt.timedelta(days=days))
        deleted = 0
        with tqdm(total=old.count(), unit=" webhooks", disable=None) as bar:
            while number := _delete(old):
                deleted += number
                bar.update(number)
        self.stdout.write(f"{deleted:,} webhooks were deleted.")


@transaction.atomic
def _delete(old: QuerySet[WebhookEvent]) -> int:
    """The oldest of them, but for those that are being replayed. Their number."""
    oldest = old.order_by("received_at").select_for_update(skip_locked=True)
    pks = list(oldest.values_list("pk", flat=True)[:AT_ONCE])
    WebhookEvent.objects.filter(pk__in=pks).only("pk").delete()  # without the payloads
    return len(pks)
