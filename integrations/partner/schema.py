"""The OpenAPI description of the delivery quote."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema

from farmlokal.http.problems import InvalidParameter, Problem
from farmlokal.openapi.parameters import JSON, cache_control, parameter, response, whole
from farmlokal.openapi.problems import ANYWHERE, RATE_LIMITED, problem_responses
from integrations.partner.client import REJECTED, TOO_SLOW, UNAVAILABLE
from integrations.partner.serializers import PINCODE, DeliveryQuoteSerializer
from products.schema import BEARER, NOT_THERE, PRODUCT_ID

CACHE_CONTROL = "no-store"
BAD_PINCODE = "must be six digits, the first of them not 0."
EXAMPLE: JSON = {
    "product_id": 48213,
    "pincode": "560001",
    "available": True,
    "fee": "45.00",
    "currency": "INR",
    "eta_hours": 36,
    "quoted_at": "2026-11-23T06:30:00.000000Z",
    "stale": False,
}

delivery_quote = extend_schema(
    operation_id="getDeliveryQuote",
    summary="The price of a delivery",
    description="Asks the logistics partner. A quote stays fresh for 30 seconds. For one day it also serves as a "
    "`stale` quote while the partner is down.",
    tags=["catalogue"],
    parameters=[
        PRODUCT_ID,
        parameter(
            "pincode",
            "The postal code of the destination.",
            {"type": "string", "pattern": whole(PINCODE)},
            "560001",
            required=True,
        ),
        cache_control(CACHE_CONTROL, 200),
    ],
    responses={
        200: response(DeliveryQuoteSerializer, "The quote.", fresh=EXAMPLE, stale={**EXAMPLE, "stale": True}),
        **problem_responses(
            "/products/48213/delivery-quote",
            InvalidParameter("pincode", BAD_PINCODE),
            NOT_THERE,
            *BEARER,
            *ANYWHERE,
            RATE_LIMITED,
            Problem("partner-rejected", REJECTED),
            Problem("partner-unavailable", UNAVAILABLE),
            Problem("partner-timeout", TOO_SLOW),
        ),
    },
)
