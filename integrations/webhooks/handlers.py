"""What the partner's events do. A new type is a function, the data that it takes, and a line in HANDLERS.

Events may come late. What counts is the version that each carries, the partner's own count for each product: what is
not newer than the newest that was applied of its type changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from farmlokal.http.input_serializers import InputSerializer, WholeNumberField
from integrations.models import AppliedVersion, WebhookEvent
from products import services
from products.models import MAX_STOCK
from products.schema import MAX_ID
from products.serializers import PriceField

if TYPE_CHECKING:
    from collections.abc import Callable

    from farmlokal.http.input_serializers import Messages
    from integrations.webhooks.events import Event

Status = WebhookEvent.Status

EXACT_PRICE = r"[0-9]{1,8}\.[0-9]{2}"
MAX_VERSION = 2**63 - 1


class ExactPriceField(PriceField):
    pattern = EXACT_PRICE
    default_error_messages: ClassVar[Messages] = {
        "invalid": 'must be a string from "0.01" to "99999999.99", with two decimals.'
    }


class OfProduct(InputSerializer):
    pointer = "/data"
    is_open = True

    product_id = WholeNumberField(min_value=0, max_value=MAX_ID)
    version = WholeNumberField(min_value=1, max_value=MAX_VERSION)


class PriceChanged(OfProduct):
    price = ExactPriceField()


class StockChanged(OfProduct):
    stock = WholeNumberField(min_value=0, max_value=MAX_STOCK)


def withdraw(data: dict[str, Any]) -> None:
    services.withdraw(data["product_id"])


def change_price(data: dict[str, Any]) -> None:
    services.change(data["product_id"], price=data["price"])


def change_stock(data: dict[str, Any]) -> None:
    services.change(data["product_id"], stock=data["stock"])


class Handler(NamedTuple):
    data: type[OfProduct]
    apply: Callable[[dict[str, Any]], None]


HANDLERS = {
    "product.price_changed": Handler(PriceChanged, change_price),
    "product.stock_changed": Handler(StockChanged, change_stock),
    "product.withdrawn": Handler(OfProduct, withdraw),
}


def checked(event: Event) -> Event:
    """With data as the handler of its type takes it; raises the problem that names what is wrong."""
    handler = HANDLERS.get(event.type)
    return event._replace(data=handler.data(data=event.data).checked()) if handler else event


def apply(event: Event) -> WebhookEvent.Status:
    """Of a checked event. To be called in a transaction; whatever it raises has no effect."""
    handler = HANDLERS.get(event.type)
    if handler is None:
        return Status.IGNORED
    product_id = event.data["product_id"]
    product = services.lock(product_id)  # so that its events come one after the other
    if product is None:
        return Status.IGNORED
    if not product.is_active or not AppliedVersion.objects.advance(product_id, event.type, event.data["version"]):
        return Status.SUPERSEDED
    handler.apply(event.data)
    return Status.PROCESSED
