from __future__ import annotations

from django.contrib import admin
from django.urls import path

from farmlokal.operations import views

wrap = admin.site.admin_view  # asks for a login, and keeps answers out of caches

urlpatterns = [
    path("", wrap(views.page), name="operations"),
    path("data", wrap(views.data), name="operations-data"),
    path("breakers/<str:name>/<str:action>", wrap(views.breaker), name="operations-breaker"),
]
