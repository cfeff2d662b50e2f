"""manage.py create_demo_staff: one member of staff for each role, for `make run`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils.text import slugify

from accounts import roles, staff
from accounts.models import User


class Command(BaseCommand):
    help = "Creates one member of staff for each role, named after it, and prints their random passwords."

    def handle(self, **_: Any) -> None:
        """Prints nothing for a user who exists, or for a role whose group was deleted or renamed."""
        for role in roles.ROLES:
            name, group = slugify(role.name), roles.find_group(role.name)
            if group and not User.objects.filter(username=name).exists():
                password = staff.generate_password()
                staff.save_user(staff.new_user(name), password, [group])
                self.stdout.write(f"{name:18} {password}")
