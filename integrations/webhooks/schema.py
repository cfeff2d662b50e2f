"""The description of what the partner sends, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

from farmlokal.http.problems import body_too_large
from farmlokal.openapi.building import HEADERS, JSON, answer, cache_control, closed, component, header, parameter, whole
from farmlokal.openapi.problems import ANYWHERE, Refusal, refusals
from integrations.models import WebhookEvent
from integrations.webhooks.events import TYPE
from integrations.webhooks.handlers import EXACT_PRICE, HANDLERS, MAX_VERSION
from integrations.webhooks.inbox import DUPLICATE, HAS_FAILED, IS_TAKEN
from integrations.webhooks.signatures import ID, MAX_BODY_BYTES, SCHEME, SIGNATURE, TIMESTAMP, WEBHOOK_ID, WHOLE_SECONDS
from products.schema import ID as PRODUCT_ID
from products.schema import STOCK, above_zero

CACHE_CONTROL = "no-store"

VERSION: JSON = {
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_VERSION,
    "description": "The partner's own count for the product: what is not newer than the newest of its type is void.",
}


def with_members(name: str, members: JSON) -> JSON:
    return component(name, {"type": "object", "properties": members, "required": list(members)})


def event(name: str, type_: JSON, data: JSON) -> JSON:
    moment = {"type": "string", "format": "date-time", "description": "When it happened."}
    return with_members(name, {"type": {"type": "string", **type_}, "timestamp": moment, "data": data})


def of_type(type_: str, name: str, **data: Any) -> JSON:
    """Every object has a name: generators make a class of it."""
    members = {"product_id": PRODUCT_ID, **data, "version": VERSION}
    return event(name, {"const": type_}, with_members(f"{name}Data", members))


OTHER = {"pattern": whole(TYPE), "not": {"enum": list(HANDLERS)}, "description": "Any other type is `ignored`."}
EVENT = component(
    "WebhookEvent",
    {
        "anyOf": [
            of_type("product.price_changed", "PriceChanged", price=above_zero(EXACT_PRICE)),
            of_type("product.stock_changed", "StockChanged", stock=STOCK),
            of_type("product.withdrawn", "Withdrawn"),
            event("OtherEvent", OTHER, {"type": "object"}),
        ]
    },
)
STATUS: JSON = {"type": "string", "enum": [*WebhookEvent.DONE, DUPLICATE]}
RECEIVED = component("WebhookReceived", closed({"status": STATUS}))
EXAMPLE: JSON = {
    "type": "product.price_changed",
    "timestamp": "2026-11-23T06:30:00Z",
    "data": {"product_id": 48213, "price": "47.50", "version": 12},
}


def signed(name: str, description: str, pattern: str, example: str) -> OpenApiParameter:
    schema = {"type": "string", "pattern": whole(pattern)}
    return parameter(name, description, schema, example, OpenApiParameter.HEADER, required=True)


receive_webhook = extend_schema(
    operation_id="receiveWebhook",
    summary="Tell of a change at the partner",
    description="[Standard Webhooks](https://www.standardwebhooks.com): signed, and sent again until the answer is "
    "a 200. However often an event is delivered, it counts once.",
    tags=["partner"],
    auth=[],
    request={"application/json": EVENT},
    examples=[OpenApiExample("price", value=EXAMPLE, request_only=True)],
    parameters=[
        signed(ID, "The event's own, the same in each delivery of it.", WEBHOOK_ID, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
        signed(TIMESTAMP, "When it is sent: seconds since 1970, at most 5 minutes off.", WHOLE_SECONDS, "1795415400"),
        signed(
            SIGNATURE,
            "`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; several with a space between.",
            "[!-~]+( [!-~]+)*",
            "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        ),
        *HEADERS,
        cache_control(CACHE_CONTROL, 200),
        header("WWW-Authenticate", "What is asked for.", {"type": "string", "const": SCHEME}, SCHEME, 401),
    ],
    responses={
        200: answer(
            RECEIVED,
            "It is in the log: `processed` now, or a `duplicate`; `superseded` by a newer one or by the product's "
            "withdrawal; `ignored`, since its type or product is not known.",
            processed={"status": "processed"},
            duplicate={"status": "duplicate"},
        ),
        **refusals(
            "/webhooks/partner",
            Refusal("signature-invalid", "The signature is not accepted: No matching signature found."),
            Refusal.of("invalid-parameter", "pointer", "/data/version", "must be 1 or more."),
            Refusal("unsupported-media-type", 'Unsupported media type "text/plain" in request.'),
            Refusal("webhook-in-progress", IS_TAKEN),
            Refusal("payload-too-large", body_too_large(MAX_BODY_BYTES)),
            Refusal("internal-error", HAS_FAILED),
            *ANYWHERE,
        ),
    },
)
