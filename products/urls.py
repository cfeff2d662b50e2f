from __future__ import annotations

from django.urls import path

import farmlokal.http.converters  # noqa: F401  # id
from products.views import ProductViewSet

urlpatterns = [
    path("", ProductViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "/<id:pk>",
        ProductViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="product",
    ),
]
