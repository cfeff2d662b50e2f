"""manage.py breaker: show or change a circuit breaker for all processes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.breaker.breaker import NotSharedError
from integrations.partner.client import BREAKERS


class Command(BaseCommand):
    help = "Shows or changes a circuit breaker for all processes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", choices=[breaker.name for breaker in BREAKERS])
        action = parser.add_mutually_exclusive_group(required=True)
        action.add_argument("--open", action="store_true", help="let no call through until you close it")
        action.add_argument("--close", action="store_true", help="let calls through until too many fail")
        action.add_argument("--reset", action="store_true", help="close it, and forget everything it has counted")
        action.add_argument("--show", action="store_true", help="show its state")

    def handle(self, *, name: str, **options: Any) -> None:
        (breaker,) = [breaker for breaker in BREAKERS if breaker.name == name]
        try:
            if options["open"]:
                breaker.hold_open()
            if options["close"]:
                breaker.close()
            if options["reset"]:
                breaker.reset()
        except NotSharedError as error:
            raise CommandError(f"Nothing has changed: {error}.") from error
        status = breaker.status()
        if status is None:
            raise CommandError("Redis does not answer. Until it does, each process has its own breaker.")
        self.stdout.write(f"{name}: {status.text}")
