"""Events from the body of a delivery: {"type", "timestamp", "data"}. Later versions may add members."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

from rest_framework import serializers

from farmlokal.http.input_serializers import InputSerializer, ObjectField, StringField
from farmlokal.http.json_bodies import parse_json
from integrations.models import MAX_TYPE_LENGTH
from integrations.webhooks.handlers import HANDLERS

TYPE = rf"[!-~]{{1,{MAX_TYPE_LENGTH}}}"
# RFC 3339
TIMESTAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"


class Event(NamedTuple):
    type: str
    happened_at: dt.datetime  # the same in each attempt, unlike the time in the headers
    data: dict[str, Any]

    @property
    def is_known(self) -> bool:
        """Whether there is a handler for it."""
        return self.type in HANDLERS

    @property
    def product_id(self) -> int | None:
        return self.data["product_id"] if self.is_known else None


def validate_type(text: str) -> None:
    if not re.fullmatch(TYPE, text):
        raise serializers.ValidationError(f"must be 1 to {MAX_TYPE_LENGTH} printable ASCII characters without a space.")


def validate_timestamp(text: str) -> None:
    try:
        moment = re.fullmatch(TIMESTAMP, text) and _moment(text)
    except ValueError:
        moment = None
    if not moment:
        raise serializers.ValidationError("must be a date and time of RFC 3339, such as 2026-11-23T06:30:00Z.")


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text.upper())


class Envelope(InputSerializer):
    is_open = True

    type = StringField(validators=[validate_type], trim_whitespace=False)
    timestamp = StringField(validators=[validate_timestamp], trim_whitespace=False)
    data = ObjectField()  # type: ignore[assignment]  # replaces the serializer's property


def read_event(body: str) -> Event:
    """Validates the data too if there is a handler for the type. Raises bad-request or invalid-parameter."""
    envelope = Envelope(data=parse_json(body)).checked()
    event = Event(envelope["type"], _moment(envelope["timestamp"]), envelope["data"])
    return event._replace(data=HANDLERS[event.type].data(data=event.data).checked()) if event.is_known else event
