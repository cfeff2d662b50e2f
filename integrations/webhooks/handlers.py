"""The effects of the partner's events.

A new type needs a serializer for its data, a function, and a line in HANDLERS. The function gets the product, locked.
The serializer's name becomes the name of the event in the OpenAPI document: PriceChangedData describes PriceChanged.

Events may arrive late. The partner counts the versions of each product. An event is superseded if one of its type with
the same or a higher version was applied to the product, or if the product is withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from farmlokal.http.input_serializers import InputSerializer, Messages, WholeNumberField
from integrations.models import AppliedVersion, WebhookEvent
from products import services
from products.models import MAX_ID, MAX_STOCK, Product
from products.serializers import STOCK_TEXT, PriceField

Status = WebhookEvent.Status

EXACT_PRICE = r"[0-9]{1,8}\.[0-9]{2}"
MAX_VERSION = 2**63 - 1


class ExactPriceField(PriceField):
    pattern = EXACT_PRICE
    default_error_messages: ClassVar[Messages] = {
        "invalid": 'must be a string from "0.01" to "99999999.99", with two decimals.'
    }


class ProductData(InputSerializer):
    pointer = "/data"
    is_open = True

    product_id = WholeNumberField(min_value=0, max_value=MAX_ID)
    version = WholeNumberField(
        min_value=1,
        max_value=MAX_VERSION,
        help_text="The partner's own counter for the product. An event changes nothing unless its version is above all "
        "earlier ones of its type.",
    )


class PriceChangedData(ProductData):
    price = ExactPriceField()


class StockChangedData(ProductData):
    stock = WholeNumberField(min_value=0, max_value=MAX_STOCK, help_text=STOCK_TEXT)


class WithdrawnData(ProductData):
    pass


def withdraw(product: Product, _: dict[str, Any]) -> None:
    services.withdraw_locked(product)


def change_price(product: Product, data: dict[str, Any]) -> None:
    services.change_locked(product, price=data["price"])


def change_stock(product: Product, data: dict[str, Any]) -> None:
    services.change_locked(product, stock=data["stock"])


class Handler(NamedTuple):
    data: type[ProductData]
    apply: Callable[[Product, dict[str, Any]], None]


HANDLERS = {
    "product.price_changed": Handler(PriceChangedData, change_price),
    "product.stock_changed": Handler(StockChangedData, change_stock),
    "product.withdrawn": Handler(WithdrawnData, withdraw),
}


def apply(event_type: str, data: dict[str, Any]) -> WebhookEvent.Status:
    """Call it in a transaction, and roll back if it raises."""
    handler = HANDLERS.get(event_type)
    if handler is None:
        return Status.IGNORED
    product_id = data["product_id"]
    product = services.lock(product_id)  # one event of a product at a time
    if product is None:
        return Status.IGNORED
    if not product.is_active or not AppliedVersion.advance(product_id, event_type, data["version"]):
        return Status.SUPERSEDED
    handler.apply(product, data)
    return Status.PROCESSED
