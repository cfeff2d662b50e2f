"""The description of the partner's call, for the OpenAPI document."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema

from farmlokal.openapi.building import (
    HEADERS,
    JSON,
    RATE_LIMITS,
    answer,
    cache_control,
    closed,
    component,
    parameter,
    whole,
)
from farmlokal.openapi.problems import ANYWHERE, RATE_LIMITED, Refusal, refusals
from products.schema import BEARER, ID, MOMENT, MONEY, NOT_THERE, PRODUCT_ID

CACHE_CONTROL = "no-store"
PINCODE = "[1-9][0-9]{5}"

QUOTE = component(
    "DeliveryQuote",
    closed(
        {
            "product_id": ID,
            "pincode": {"type": "string", "pattern": whole(PINCODE)},
            "available": {
                "type": "boolean",
                "description": "Whether it is delivered there; else the next are null.",
            },
            "fee": {**MONEY, "type": ["string", "null"]},
            "currency": {"type": ["string", "null"], "pattern": "^[A-Z]{3}$"},
            "eta_hours": {"type": ["number", "null"], "minimum": 0},
            "quoted_at": MOMENT,
            "stale": {"type": "boolean", "description": "The partner is down, and this is the last that it said."},
        }
    ),
)
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
BAD_PINCODE = Refusal.of("invalid-parameter", "parameter", "pincode", "must be six digits, the first of them not 0.")

delivery_quote = extend_schema(
    operation_id="getDeliveryQuote",
    summary="What delivery to a place costs",
    description="Asks the logistics partner. A quote is kept for 30 seconds; and for a day, to be given as `stale` "
    "while the partner is down.",
    tags=["catalogue"],
    parameters=[
        PRODUCT_ID,
        parameter(
            "pincode",
            "The postal code of the place.",
            {"type": "string", "pattern": whole(PINCODE)},
            "560001",
            required=True,
        ),
        *HEADERS,
        *RATE_LIMITS,
        cache_control(CACHE_CONTROL, 200),
    ],
    responses={
        200: answer(QUOTE, "The quote.", fresh=EXAMPLE, stale={**EXAMPLE, "stale": True}),
        **refusals(
            "/products/48213/delivery-quote",
            BAD_PINCODE,
            NOT_THERE,
            *BEARER,
            *ANYWHERE,
            RATE_LIMITED,
            Refusal("partner-rejected", "The partner does not quote for this product and place."),
            Refusal("partner-unavailable", "The partner gives no quote now."),
            Refusal("partner-timeout", "The partner did not answer in time."),
        ),
    },
)
