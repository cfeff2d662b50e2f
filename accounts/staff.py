"""Members of staff, created by commands."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from accounts.models import User

GENERATED_BYTES = 15  # 20 characters


def new_user(name: str) -> User:
    """Not saved. Raises ValidationError if the name is not valid, or taken."""
    user = User(username=User.normalize_username(name), is_staff=True)
    user.full_clean(exclude=["password"])
    return user


@transaction.atomic
def save_user(user: User, password: str, groups: Iterable[Group]) -> None:
    """Raises ValidationError if the password is weak."""
    validate_password(password, user)
    user.set_password(password)
    user.save()
    user.groups.set(groups)


def generate_password() -> str:
    return secrets.token_urlsafe(GENERATED_BYTES)
