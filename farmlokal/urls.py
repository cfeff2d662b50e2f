"""Maps paths to views. farmlokal.routes says how their requests are treated before that."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from farmlokal import health, home
from farmlokal.openapi import views as openapi
from products.views import CategoryView, StateView

urlpatterns = [
    path("products", include("products.urls")),
    path("", include("integrations.partner.urls")),
    path("webhooks/", include("integrations.webhooks.urls")),
    path("categories", CategoryView.as_view()),
    path("states", StateView.as_view()),
    path("", home.home),
    path("favicon.ico", home.favicon),
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("openapi.json", openapi.openapi_json, name="openapi"),
    path("docs", openapi.docs),
    path("redoc", openapi.redoc),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/operations/", include("farmlokal.operations.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "farmlokal.http.exception_handlers.bad_request"
handler403 = "farmlokal.http.exception_handlers.permission_denied"
handler404 = "farmlokal.http.exception_handlers.not_found"
handler500 = "farmlokal.http.exception_handlers.server_error"
