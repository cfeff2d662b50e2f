from __future__ import annotations

from django.apps import AppConfig


class FarmlokalConfig(AppConfig):
    name = "farmlokal"

    def ready(self) -> None:
        from farmlokal import checks  # noqa: F401, PLC0415  # registers them
