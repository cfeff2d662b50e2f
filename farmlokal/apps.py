from __future__ import annotations

from django.apps import AppConfig


class FarmlokalConfig(AppConfig):
    name = "farmlokal"

    def ready(self) -> None:
        from farmlokal import checks  # noqa: F401, PLC0415  # registers them
        from farmlokal.jobs import admin  # noqa: F401, PLC0415  # registers its pages
        from farmlokal.observability import error_reports, tracing  # noqa: PLC0415  # needs the settings

        tracing.start()
        error_reports.start()
