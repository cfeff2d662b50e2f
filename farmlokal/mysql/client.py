"""`manage.py dbshell`, which runs the mysql or mariadb program instead of our driver."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError
from django.db.backends.mysql import client


class DatabaseClient(client.DatabaseClient):
    @classmethod
    def settings_to_cmd_args_env(cls, settings_dict: dict[str, Any], parameters: Iterable[str]) -> Any:
        """Refuse if DATABASE_URL demands TLS: the programs differ in its options, and fall back to plain text."""
        if settings_dict["OPTIONS"]["ssl_mode"] != "DISABLED":
            raise CommandError(
                "dbshell cannot promise the TLS that DATABASE_URL asks for; run mysql --ssl-mode=VERIFY_IDENTITY "
                "or mariadb --ssl-verify-server-cert yourself"
            )
        return super().settings_to_cmd_args_env(settings_dict, parameters)
