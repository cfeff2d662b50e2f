"""The OpenAPI description of the partner's webhook."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType

from farmlokal.http.input_serializers import ObjectField, StringField
from farmlokal.http.problems import Problem, body_too_large
from farmlokal.openapi.parameters import JSON, cache_control, constant_header, parameter, response, whole
from farmlokal.openapi.problems import ANYWHERE, problem_responses, raised_by
from farmlokal.routes import MAX_WEBHOOK_BYTES
from integrations.models import WebhookEvent
from integrations.webhooks.events import TYPE, Envelope, read_event
from integrations.webhooks.handlers import HANDLERS
from integrations.webhooks.inbox import DUPLICATE, HAS_FAILED, IS_TAKEN
from integrations.webhooks.signatures import (
    ID,
    SCHEME,
    SIGNATURE,
    TIMESTAMP,
    WEBHOOK_ID,
    WHOLE_SECONDS,
    refused,
)

CACHE_CONTROL = "no-store"


class WebhookReceivedSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField([*WebhookEvent.DONE, DUPLICATE])


class OtherTypeField(StringField):
    keywords: ClassVar[JSON] = {"pattern": whole(TYPE), "not": {"enum": list(HANDLERS)}}


def event(name: str, type_: Any, data: Any) -> Any:
    timestamp = serializers.DateTimeField(help_text="When the event happened.")
    return type(f"{name}Serializer", (Envelope,), {"type": type_, "timestamp": timestamp, "data": data})


EVENTS = [
    event(handler.data.__name__.removesuffix("Data"), serializers.ChoiceField([type_]), handler.data())
    for type_, handler in HANDLERS.items()
]
OTHER_EVENT = event("OtherEvent", OtherTypeField(help_text="Any other type is `ignored`."), ObjectField())
EVENT = PolymorphicProxySerializer("WebhookEvent", [*EVENTS, OTHER_EVENT], resource_type_field_name=None)
EXAMPLE: JSON = {
    "type": "product.price_changed",
    "timestamp": "2026-11-23T06:30:00Z",
    "data": {"product_id": 48213, "price": "47.50", "version": 12},
}
BAD_VERSION = raised_by(lambda: read_event(json.dumps({**EXAMPLE, "data": {**EXAMPLE["data"], "version": 0}})))


def signed(name: str, description: str, pattern: str, example: str) -> OpenApiParameter:
    schema = {"type": "string", "pattern": whole(pattern)}
    return parameter(name, description, schema, example, OpenApiParameter.HEADER, required=True)


receive_webhook = extend_schema(
    operation_id="receiveWebhook",
    summary="Receive an event of the partner",
    description="[Standard Webhooks](https://www.standardwebhooks.com): signed, and sent again until the response is "
    "a 200. An event counts once, however often it is delivered.",
    tags=["partner"],
    auth=[],
    request={"application/json": EVENT},
    examples=[OpenApiExample("price", value=EXAMPLE, request_only=True)],
    parameters=[
        signed(ID, "The event's id, the same in each delivery.", WEBHOOK_ID, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"),
        signed(TIMESTAMP, "The sending time: seconds since 1970, at most 5 minutes off.", WHOLE_SECONDS, "1795415400"),
        signed(
            SIGNATURE,
            "`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64. May hold several, separated by spaces.",
            "[!-~]+( [!-~]+)*",
            "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        ),
        cache_control(CACHE_CONTROL, 200),
        constant_header("WWW-Authenticate", "The authentication scheme.", SCHEME, 401),
    ],
    responses={
        200: response(
            WebhookReceivedSerializer,
            "The event is in the log. `processed`: applied now. `duplicate`: applied before. `superseded`: older than "
            "an applied event, or the product is withdrawn. `ignored`: its type or product is unknown.",
            processed={"status": "processed"},
            duplicate={"status": "duplicate"},
        ),
        **problem_responses(
            "/webhooks/partner",
            refused("No matching signature found."),
            BAD_VERSION,
            UnsupportedMediaType("text/plain"),
            Problem("webhook-in-progress", IS_TAKEN),
            Problem("payload-too-large", body_too_large(MAX_WEBHOOK_BYTES)),
            Problem("internal-error", HAS_FAILED),
            *ANYWHERE,
        ),
    },
)
