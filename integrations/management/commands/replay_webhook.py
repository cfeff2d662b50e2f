"""manage.py replay_webhook: an event of the log once more."""

from __future__ import annotations

import getpass
import re
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from farmlokal.http.problems import Problem
from integrations.models import PARTNER, WebhookEvent
from integrations.webhooks import inbox
from integrations.webhooks.signatures import WEBHOOK_ID

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = (
        "Has an event tried again that has failed, is dead, or was superseded or ignored, with all that holds for a "
        "delivery; one that was processed is a duplicate. Who did it, and when, is kept with the event."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="its webhook-id, or its number in the log")
        parser.add_argument("--by", help="who replays it; by default, who runs this")

    def handle(self, *, id: str, by: str | None, **_: Any) -> None:  # noqa: A002  # argparse names it
        if not re.fullmatch(WEBHOOK_ID, id):
            raise CommandError(f"there is no webhook {id!a} in the log")
        events = WebhookEvent.objects.filter(source=PARTNER, webhook_id=id)
        if re.fullmatch("[0-9]{1,18}", id) and not events.exists():
            events = WebhookEvent.objects.filter(pk=int(id))
        pk = events.values_list("pk", flat=True).first()
        if pk is None:
            raise CommandError(f"there is no webhook {id} in the log")
        try:
            outcome = inbox.replay(pk, (by or getpass.getuser()).encode(errors="replace").decode())
        except Problem as problem:
            raise CommandError(f"{id}: {problem.detail}") from problem
        except OperationalError as error:
            raise CommandError(f"{id}: {error}; nobody knows what became of it, replay it again to find out") from error
        event = WebhookEvent.objects.get(pk=pk)
        if event.error:
            raise CommandError(f"{id}: {outcome}, {event.error}")
        self.stdout.write(f"{id}: {outcome}")
