"""Types of ASGI. Those of asgiref are closed: they know neither our key in the scope nor lists of headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, BinaryIO, NamedTuple, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]  # names in lower case


class Response(NamedTuple):
    """A whole response. file: its body instead, if it is too large for memory. The sender closes it."""

    status: int
    headers: Headers
    body: bytes
    file: BinaryIO | None = None
