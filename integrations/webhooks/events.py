"""The body of a delivery: {"type", "timestamp", "data"}. What else is in it is let be: later versions may add to it."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

from rest_framework import serializers

from farmlokal.http.input_serializers import InputSerializer, ObjectField, StringField
from farmlokal.http.json_bodies import parse_json
from integrations.models import MAX_TYPE_LENGTH

TYPE = rf"[!-~]{{1,{MAX_TYPE_LENGTH}}}"
MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"  # RFC 3339


class Event(NamedTuple):
    type: str
    data: dict[str, Any]  # as it came, until handlers.checked() has looked at it


def validate_type(text: str) -> None:
    if not re.fullmatch(TYPE, text):
        raise serializers.ValidationError(f"must be 1 to {MAX_TYPE_LENGTH} printable ASCII characters without a space.")


def validate_timestamp(text: str) -> None:
    try:
        known = re.fullmatch(MOMENT, text) and dt.datetime.fromisoformat(text.upper())
    except ValueError:
        known = None
    if not known:
        raise serializers.ValidationError("must be a date and time of RFC 3339, such as 2026-11-23T06:30:00Z.")


class Envelope(InputSerializer):
    is_open = True

    type = StringField(validators=[validate_type], trim_whitespace=False)
    timestamp = StringField(validators=[validate_timestamp], trim_whitespace=False)
    data = ObjectField()  # type: ignore[assignment]  # a field of this name is none of the class's own


def read(body: bytes) -> Event:
    """Raises the problem that names what is wrong."""
    envelope = Envelope(data=parse_json(body)).checked()
    return Event(envelope["type"], envelope["data"])
