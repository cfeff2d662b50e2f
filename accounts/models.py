"""Staff, and clients of the API."""

from __future__ import annotations

import unicodedata
from functools import cached_property
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

from farmlokal.ratelimit import rate_format
from farmlokal.ratelimit.limiter import Policy

CLIENT_ID = RegexValidator(r"^[!-~]([ -~]*[!-~])?\Z", "must be printable ASCII without a space at its ends.")


def validate_rate(text: str) -> None:
    try:
        rate_format.parse(text)
    except ValueError as error:
        raise ValidationError(f"{error}.") from error


def login_name(username: str) -> str:
    """The form in which usernames are compared and login attempts are counted. Case does not count, accents do."""
    return unicodedata.normalize("NFKC", username).casefold().strip()


class StaffManager(UserManager):  # type: ignore[type-arg]
    def get_by_natural_key(self, username: str | None) -> User:
        """MySQL also finds "admin" for "ádmin". Each accented spelling would have its own limit of login attempts."""
        user: User = super().get_by_natural_key(username)
        if login_name(user.username) != login_name(username or ""):
            raise User.DoesNotExist
        return user


class User(AbstractUser):
    """A member of staff. A model of our own can get fields later."""

    objects: ClassVar[StaffManager] = StaffManager()


class ApiClient(models.Model):
    """A client of the API. Its tokens carry the client id."""

    client_id = models.CharField(max_length=255, unique=True, validators=[CLIENT_ID], db_collation="utf8mb4_bin")
    name = models.CharField(max_length=100, help_text="For people.")
    rate = models.CharField(
        max_length=20,
        blank=True,
        validators=[validate_rate],
        help_text="Requests/seconds such as 1200/60, or off. Empty: as RATE_LIMIT_CLIENT says.",
    )
    is_active = models.BooleanField("active", default=True, help_text="Switched off: its tokens are refused.")
    created_at = models.DateTimeField(auto_now_add=True)

    # Django REST Framework reads these from request.user.
    is_authenticated = True
    is_staff = False

    class Meta:
        verbose_name = "API client"
        ordering: ClassVar[list[str]] = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def policy(self) -> Policy | None:
        rate = rate_format.parse(self.rate) if self.rate else settings.RATE_LIMIT_CLIENT
        return Policy("client", *rate) if rate else None

    @property
    def name_in_limits(self) -> str:
        return str(self.pk)


class GrantedPermission(models.Model):
    """A permission that a role has received. No role receives one twice, so an administrator can take it away."""

    role = models.CharField(max_length=150)
    permission = models.CharField(max_length=201)  # app_label.codename

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["role", "permission"], name="granted_permission"),)

    def __str__(self) -> str:
        return f"{self.role}: {self.permission}"
