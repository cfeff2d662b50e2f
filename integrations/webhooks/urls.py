from __future__ import annotations

from django.urls import path

from integrations.webhooks.views import PartnerWebhookView

urlpatterns = [path("partner", PartnerWebhookView.as_view())]
