"""manage.py create_api_client: registers a client of the API."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import ApiClient


class Command(BaseCommand):
    help = "Registers a client of the API by the client id in its tokens, with its own rate limit."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("client_id")
        parser.add_argument("--name", help="for people (default: the client id)")
        parser.add_argument("--rate", default="", help="requests/seconds such as 1200/60, or off")
        parser.add_argument("--if-missing", action="store_true", help="do nothing if the client exists")

    def handle(self, *, client_id: str, name: str | None, rate: str, if_missing: bool, **_: Any) -> None:
        if if_missing and ApiClient.objects.filter(client_id=client_id).exists():
            return
        client = ApiClient(client_id=client_id, name=name or client_id[:100], rate=rate)
        try:
            client.full_clean()
        except ValidationError as error:
            messages = [f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items()]
            raise CommandError(" ".join(messages)) from error
        client.save()
        self.stdout.write(f"{client.client_id} may call the API, at {client.rate or 'the usual rate'}.")
