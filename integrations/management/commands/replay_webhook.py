"""manage.py replay_webhook: try an event of the log again."""

from __future__ import annotations

import getpass
import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from farmlokal.http.problems import Problem
from integrations.models import PARTNER, WebhookEvent
from integrations.webhooks import inbox
from integrations.webhooks.signatures import WEBHOOK_ID


class Command(BaseCommand):
    help = (
        "Tries an event again that failed, is dead, or was superseded or ignored. A processed event is a duplicate. "
        "The log records each replay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="webhook-id, or number in the log")
        parser.add_argument("--by", help="your name for the log; default: your login")

    def handle(self, *, id: str, by: str | None, **_: Any) -> None:  # noqa: A002  # argparse names it
        if not re.fullmatch(WEBHOOK_ID, id):
            raise CommandError(f"There is no webhook {id!a} in the log.")
        events = WebhookEvent.objects.filter(source=PARTNER, webhook_id=id)
        if re.fullmatch("[0-9]{1,18}", id) and not events.exists():
            events = WebhookEvent.objects.filter(pk=int(id))
        pk = events.values_list("pk", flat=True).first()
        if pk is None:
            raise CommandError(f"There is no webhook {id} in the log.")
        try:
            outcome = inbox.replay(pk, (by or getpass.getuser()).encode(errors="replace").decode())
        except Problem as problem:
            raise CommandError(f"{id}: {problem.detail}") from problem
        except OperationalError as error:
            raise CommandError(f"{id}: {error}. The outcome is unknown; replay it again.") from error
        event = WebhookEvent.objects.get(pk=pk)
        if event.error:
            raise CommandError(f"{id}: {outcome}, {event.error}")
        self.stdout.write(f"{id}: {outcome}")
