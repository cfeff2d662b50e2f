from __future__ import annotations

from django.urls import path

from products.views import ProductViewSet

urlpatterns = [
    path("", ProductViewSet.as_view({"get": "list"})),
]
