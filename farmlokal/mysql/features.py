"""Features of the server that the operator sets."""

from __future__ import annotations

from django.conf import settings
from django.db.backends.mysql import features
from django.utils.functional import cached_property


class DatabaseFeatures(features.DatabaseFeatures):
    @cached_property
    def supports_foreign_keys(self) -> bool:  # type: ignore[override]  # a constant in Django
        return bool(settings.DATABASE_FOREIGN_KEYS)
