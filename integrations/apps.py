from __future__ import annotations

from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "integrations"

    def ready(self) -> None:
        from farmlokal.jobs import registry  # noqa: PLC0415
        from integrations.webhooks.jobs import REPLAY  # noqa: PLC0415

        registry.register(REPLAY)
