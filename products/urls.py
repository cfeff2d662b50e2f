from __future__ import annotations

from django.urls import path, register_converter

from products.views import ProductViewSet


class IdConverter:
    """What fits a BIGINT; anything longer is not there."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(IdConverter, "id")

urlpatterns = [
    path("", ProductViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "/<id:pk>",
        ProductViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="product",
    ),
]
