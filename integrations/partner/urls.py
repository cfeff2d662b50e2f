from __future__ import annotations

from django.urls import path

from integrations.partner.views import DeliveryQuoteView

urlpatterns = [path("products/<int:pk>/delivery-quote", DeliveryQuoteView.as_view())]
