"""The permissions of the operations page. There is no table."""

from __future__ import annotations

from django.db import models


class Operations(models.Model):
    class Meta:
        managed = False
        default_permissions = ()
        permissions = (
            ("view_operations", "Can view the operations page"),
            ("force_breaker", "Can open, close and reset circuit breakers"),
        )
        verbose_name_plural = "operations"

    def __str__(self) -> str:
        return "operations"
