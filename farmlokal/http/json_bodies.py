"""Request bodies: JSON taken exactly as it is meant, and all that is wrong with one told at once.

An error names its place by JSON pointer (RFC 6901). Nothing is coerced: "5" is no number, 1 no boolean.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeAlias

from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType

from farmlokal.http.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from rest_framework.request import Request

Messages: TypeAlias = dict[str, Any]

MEDIA_TYPE = "application/json"
MAX_UNKNOWN_NAMED = 20
MAX_POINTER_LENGTH = 100
MAX_DIGITS = 1000
MAX_DEPTH = 200
TOO_DEEP = f"The body is nested more than {MAX_DEPTH} levels deep."


class JSONObject(dict[str, Any]):
    """An object of a body; repeated holds the names that it has more than once."""

    def __init__(self, members: Sequence[tuple[str, Any]]) -> None:
        super().__init__(members)
        counts = Counter(name for name, _ in members)
        self.repeated = {name for name, count in counts.items() if count > 1}


def read_json(request: Request) -> Any:
    """The body's value, objects as JSONObject. Raises for another media type and for what is not JSON."""
    check_coding(request)
    check_media_type(request)
    return parse_json(request.body)


def check_media_type(request: Request) -> None:
    media_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedMediaType(media_type[:100])


def check_coding(request: Request) -> None:
    coding = request.META.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
    if coding != "identity":
        raise Problem("unsupported-media-type", f'The content coding "{coding[:100]}" is not supported; send it plain.')


def text_of(body: bytes) -> str:
    """Raises the Problem bad-request."""
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Problem("bad-request", "The body is not UTF-8.") from error


def parse_json(body: bytes) -> Any:
    """The body's value, objects as JSONObject; raises the Problem bad-request for what is not JSON, or beyond what is
    read of it."""
    try:
        value = json.loads(text_of(body), object_pairs_hook=JSONObject, parse_constant=_refuse, parse_int=_whole)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Problem("bad-request", f"The body is not JSON: {error.msg}, {place}.") from error
    except RecursionError as error:
        raise Problem("bad-request", TOO_DEEP) from error
    _check_depth(value)
    return value


def _refuse(constant: str) -> NoReturn:
    raise Problem("bad-request", f"The body is not JSON: {constant} is no number of it.")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise Problem("bad-request", f"The body has a number of more than {MAX_DIGITS} digits.")
    return int(digits)


def _check_depth(value: Any) -> None:
    """By count: how deep Python itself can go depends on who has called it."""
    level, depth = _nesting([value]), 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise Problem("bad-request", TOO_DEEP)
        level = _nesting(child for parent in level for child in parent)


def _nesting(values: Iterable[Any]) -> list[Collection[Any]]:
    """Those that hold others, each as what it holds."""
    return [value.values() if isinstance(value, dict) else value for value in values if isinstance(value, dict | list)]


class InputSerializer(serializers.Serializer[Any]):
    """Reads a JSON object from read_json(): members that are repeated are errors too, and so are unknown ones, unless
    the class is open to what a later version may add."""

    pointer = ""  # to the object in the body
    is_open = False

    def checked(self) -> dict[str, Any]:
        """The validated members; raises the Problem that names every error."""
        errors = list(self._errors())
        if errors:
            first = errors[0]
            raise Problem("invalid-parameter", f"{first['pointer'] or 'The body'}: {first['detail']}", errors)
        return dict(self.validated_data)

    def _errors(self) -> Iterator[dict[str, Any]]:
        data = self.initial_data
        if not isinstance(data, JSONObject):
            yield {"pointer": self.pointer, "detail": "must be a JSON object."}
            return
        unknown = (name for name in data if name not in self.fields and not self.is_open)
        for name in islice(unknown, MAX_UNKNOWN_NAMED):
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


class PointerMessages:
    """Texts that go with a pointer, for the fields below and of the apps."""

    default_error_messages: ClassVar[Messages] = {"required": "is required.", "null": "must not be null."}


class StringField(PointerMessages, serializers.CharField):
    default_error_messages: ClassVar[Messages] = {
        "invalid": "must be a string.",
        "blank": "must not be blank.",
        "max_length": "must have at most {max_length} characters.",
    }

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumberField(PointerMessages, serializers.IntegerField):
    default_error_messages: ClassVar[Messages] = {
        "invalid": "must be a whole number.",
        "min_value": "must be {min_value} or more.",
        "max_value": "must be {max_value} or less.",
    }

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class FlagField(PointerMessages, serializers.BooleanField):
    default_error_messages: ClassVar[Messages] = {"invalid": "must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class OneOfField(PointerMessages, serializers.ChoiceField):
    default_error_messages: ClassVar[Messages] = {"invalid_choice": "must be one of those allowed."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid_choice")
        return str(super().to_internal_value(data))


class ObjectField(PointerMessages, serializers.Field[Any, Any, Any, Any]):
    default_error_messages: ClassVar[Messages] = {"invalid": "must be an object."}

    def to_internal_value(self, data: Any) -> JSONObject:
        if not isinstance(data, JSONObject):
            self.fail("invalid")
        return data
