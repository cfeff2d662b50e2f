"""Hides secrets on Django's debug page, which anyone can see while DEBUG is on."""

from __future__ import annotations

import re
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

from farmlokal.observability.error_reports import PASSWORD_IN_URL


class SecretFilter(SafeExceptionReporterFilter):
    """Also hide our URLs with passwords, and filter local variables, which Django does only while DEBUG is off."""

    hidden_settings = re.compile(
        rf"{SafeExceptionReporterFilter.hidden_settings.pattern}|(REDIS|DATABASE\w*)_URL|LOCATION|OTLP\w*_HEADERS|SENTRY_DSN",
        re.IGNORECASE,
    )

    def cleanse_setting(self, key: Any, value: Any) -> Any:
        cleansed = super().cleanse_setting(key, value)
        return PASSWORD_IN_URL.sub(self.cleansed_substitute, cleansed) if isinstance(cleansed, str) else cleansed

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> Any:
        variables = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, self.cleanse_setting(name, value)) for name, value in variables]
