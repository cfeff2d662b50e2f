"""What the server offers, as far as an operator has to say so."""

from __future__ import annotations

from django.conf import settings
from django.db.backends.mysql import features
from django.utils.functional import cached_property


class DatabaseFeatures(features.DatabaseFeatures):
    @cached_property
    def supports_foreign_keys(self) -> bool:  # type: ignore[override]  # Django has a constant
        return bool(settings.DATABASE_FOREIGN_KEYS)
