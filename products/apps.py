from __future__ import annotations

from django.apps import AppConfig


class ProductsConfig(AppConfig):
    name = "products"

    def ready(self) -> None:
        from farmlokal.jobs import registry  # noqa: PLC0415
        from products.jobs import ACTIONS  # noqa: PLC0415

        registry.register(*ACTIONS)
