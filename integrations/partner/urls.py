from __future__ import annotations

from django.urls import path

import farmlokal.http.converters  # noqa: F401  # id
from integrations.partner.views import DeliveryQuoteView

urlpatterns = [path("products/<id:pk>/delivery-quote", DeliveryQuoteView.as_view())]
