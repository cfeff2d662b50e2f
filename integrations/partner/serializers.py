"""The public document of a delivery quote."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from farmlokal.openapi.parameters import whole
from products.serializers import MONEY, IdField, UTCField

PINCODE = "[1-9][0-9]{5}"


class DeliveryQuoteSerializer(serializers.Serializer[Any]):
    product_id = IdField()
    pincode = serializers.RegexField(whole(PINCODE))
    available = serializers.BooleanField(
        help_text="Whether the partner delivers there. If not, fee, currency and eta_hours are null."
    )
    fee = serializers.RegexField(MONEY, allow_null=True)
    currency = serializers.RegexField("^[A-Z]{3}$", allow_null=True)
    eta_hours = serializers.FloatField(min_value=0, allow_null=True)
    quoted_at = UTCField()
    stale = serializers.BooleanField(help_text="The partner is down, and this is its last quote.")
