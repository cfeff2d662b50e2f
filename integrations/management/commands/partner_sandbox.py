"""manage.py partner_sandbox: a stand-in for the OAuth2 provider and the partner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from integrations.partner.sandbox import FAULTS_PATH, QUOTES_PATH, REGISTERED, TOKEN_PATH, Sandbox

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = "Serves a stand-in for what is outside, on loopback, until it is interrupted. Not for production."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8001)
        parser.add_argument("--token-lifetime", type=int, default=3600, help="seconds")

    def handle(self, *, port: int, token_lifetime: int, **_: Any) -> None:
        try:
            sandbox = Sandbox(port=port, lifetime=token_lifetime)
        except OSError as error:
            raise CommandError(f"port {port}: {error.strerror}") from error
        self.stdout.write(f"tokens: {sandbox.url}{TOKEN_PATH}, for {', '.join(REGISTERED)}")
        self.stdout.write(f"quotes: {sandbox.url}{QUOTES_PATH}; how they fail: PUT {sandbox.url}{FAULTS_PATH}")
        self.stdout.flush()
        try:
            sandbox.serve_forever()
        except KeyboardInterrupt:
            self.stdout.write("")
        finally:
            sandbox.server_close()
