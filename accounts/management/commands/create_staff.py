"""manage.py create_staff: creates a member of staff with roles."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import roles, staff


class Command(BaseCommand):
    help = "Creates a member of staff with one or more roles. createsuperuser creates one who may do everything."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="to log in with")
        parser.add_argument("--role", action="append", required=True, help="such as catalogue-editor; may be repeated")
        parser.add_argument(
            "--generate-password", action="store_true", help="print a random password instead of asking for one"
        )

    def handle(self, *, name: str, role: list[str], generate_password: bool, **_: Any) -> None:
        groups = [_group(text) for text in role]
        try:
            user = staff.new_user(name)
            password = staff.generate_password() if generate_password else _ask_for_password()
            staff.save_user(user, password, groups)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"{user.username} may log in as {', '.join(group.name for group in groups)}.")
        if generate_password:
            self.stdout.write(f"Password, shown only now: {password}")


def _group(text: str) -> Group:
    if group := roles.find_group(text):
        return group
    names = ", ".join(Group.objects.order_by("name").values_list("name", flat=True))
    raise CommandError(f'There is no role "{text}". The roles are: {names}.')


def _ask_for_password() -> str:
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for a password. Use --generate-password.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Password again: ") != password:
        raise CommandError("The passwords differ.")
    return password
