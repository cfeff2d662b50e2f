"""Serializers and fields that validate JSON bodies strictly: "5" is not a number, 1 is not a boolean.

All errors of a body are reported together, each with a JSON Pointer (RFC 6901).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from itertools import islice
from typing import Any, ClassVar, TypeAlias

from rest_framework import serializers

from farmlokal.http.json_bodies import JSONObject
from farmlokal.http.problems import InvalidBody

Messages: TypeAlias = dict[str, Any]

MAX_UNKNOWN_REPORTED = 20
MAX_POINTER_LENGTH = 100


class InputSerializer(serializers.Serializer[Any]):
    """Validates a JSONObject. Repeated members are errors; so are unknown ones, unless is_open."""

    pointer = ""  # of this object in the body
    is_open = False

    @property
    def fields(self) -> Any:
        """Built once for each class, because DRF copies all declared fields for each serializer.

        The fields keep no state of a request. Their parent is the first serializer, which differs in its data only.
        """
        return _fields_of(type(self))

    def checked(self) -> dict[str, Any]:
        """The validated members. Raises InvalidBody."""
        if errors := list(self._errors()):
            raise InvalidBody(errors)
        return dict(self.validated_data)

    def _errors(self) -> Iterator[dict[str, Any]]:
        data = self.initial_data
        if not isinstance(data, JSONObject):
            yield {"pointer": self.pointer, "detail": "must be a JSON object."}
            return
        unknown = (name for name in data if name not in self.fields and not self.is_open)
        for name in islice(unknown, MAX_UNKNOWN_REPORTED):
            yield self._error(name, "is not a member here.", self.fields)
        for name in sorted(data.repeated & self.fields.keys()):
            yield self._error(name, "is given more than once.")
        self.is_valid()
        for name, details in self.errors.items():
            for detail in details:
                yield self._error(name, str(detail), getattr(self.fields[name], "choices", ()))

    def _error(self, name: str, detail: str, allowed: Collection[str] = ()) -> dict[str, Any]:
        name = name.replace("~", "~0").replace("/", "~1").encode("utf-8", "replace").decode()
        error = {"pointer": f"{self.pointer}/{name}"[:MAX_POINTER_LENGTH], "detail": detail}
        return error | {"allowed": list(allowed)} if allowed else error


@cache
def _fields_of(serializer: type[InputSerializer]) -> Any:
    return super(InputSerializer, serializer()).fields


class StrictField:
    """Accepts values of one JSON type only. The error texts follow a pointer."""

    json_type: type = str
    default_error_messages: ClassVar[Messages] = {"required": "is required.", "null": "must not be null."}

    def to_internal_value(self: Any, data: Any) -> Any:
        if type(data) is not self.json_type:
            self.fail("invalid")
        return super().to_internal_value(data)  # type: ignore[misc]  # of the other base class


class StringField(StrictField, serializers.CharField):
    default_error_messages: ClassVar[Messages] = {
        "invalid": "must be a string.",
        "blank": "must not be blank.",
        "max_length": "must have at most {max_length} characters.",
    }


class WholeNumberField(StrictField, serializers.IntegerField):
    json_type = int
    default_error_messages: ClassVar[Messages] = {
        "invalid": "must be a whole number.",
        "min_value": "must be {min_value} or more.",
        "max_value": "must be {max_value} or less.",
    }


class FlagField(StrictField, serializers.BooleanField):
    json_type = bool
    default_error_messages: ClassVar[Messages] = {"invalid": "must be true or false."}


class OneOfField(StrictField, serializers.ChoiceField):
    default_error_messages: ClassVar[Messages] = dict.fromkeys(
        ("invalid", "invalid_choice"), "must be one of the allowed values."
    )


class ObjectField(StrictField, serializers.DictField):
    json_type = JSONObject
    default_error_messages: ClassVar[Messages] = {"invalid": "must be an object."}

    def run_child_validation(self, data: Any) -> Any:
        return data
