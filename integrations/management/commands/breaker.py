"""manage.py breaker: what an operator sees of a circuit breaker, and says to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from integrations.breaker import NotSharedError, Status
from integrations.partner.client import BREAKERS

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = "Shows a circuit breaker as all processes see it, or changes it for all of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", choices=[breaker.storage.name for breaker in BREAKERS])
        action = parser.add_mutually_exclusive_group(required=True)
        action.add_argument("--open", action="store_true", help="no call goes through until it is closed by hand")
        action.add_argument("--close", action="store_true", help="calls go through again, until too many fail")
        action.add_argument("--reset", action="store_true", help="closed, and all that it has counted is forgotten")
        action.add_argument("--show", action="store_true", help="only say how it is")

    def handle(self, *, name: str, **given: Any) -> None:
        (breaker,) = [breaker for breaker in BREAKERS if breaker.storage.name == name]
        try:
            if given["open"]:
                breaker.open()
            if given["close"]:
                breaker.close()
            if given["reset"]:
                breaker.reset()
        except NotSharedError as error:
            raise CommandError(f"nothing is changed: {error}") from error
        status = breaker.storage.status()
        if status is None:
            raise CommandError("Redis does not answer: each process has a breaker of its own now")
        self.stdout.write(f"{name}: {_said(status)}")


def _said(status: Status) -> str:
    if status.is_held:
        return "open, until it is closed by hand"
    if status.state == "open":
        return f"open for another {status.wait_seconds:.1f} s, {status.streak} times in a row"
    if status.state == "half-open":
        return "half-open: the next call is a probe"
    return f"closed; {status.bad} of the last {status.outcomes} calls failed"
