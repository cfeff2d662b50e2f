"""How the service treats the requests of each route before a view sees them. urls.py maps the same paths to views."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache, partial
from types import MappingProxyType
from typing import NamedTuple

from django.conf import settings


class Pool(Enum):
    """Threads that serve a group of routes; farmlokal.edge.django_pool has their numbers."""

    API = auto()
    PARTNER = auto()  # waits for the partner
    WEBHOOKS = auto()
    ADMIN = auto()  # a login hashes for 0.4 s
    CHECKS = auto()  # may wait for MySQL and Redis
    LIVENESS = auto()  # never waits


class Route(NamedTuple):
    template: str = ""  # as logs and metrics show it; "": no URL pattern matches the path
    pool: Pool = Pool.API
    is_rate_limited: bool = False
    is_cors_open: bool = False  # scripts of other origins may read it
    is_probe: bool = False  # answered for every Host
    max_body_bytes: Mapping[str, int] = MappingProxyType({})  # by method; no other body is read


MAX_PATH_LENGTH = 200  # no route is longer, apart from the admin's
MAX_WEBHOOK_BYTES = 256 * 1024
MAX_BODY_BYTES: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
PARAMETERS = {"{pk}": "[0-9]+", "{path}": ".*"}

_api = partial(Route, is_rate_limited=True, is_cors_open=True)

ROUTES = (
    _api("/products", max_body_bytes={"POST": MAX_BODY_BYTES}),
    _api("/products/{pk}", max_body_bytes={"PATCH": MAX_BODY_BYTES}),
    _api("/products/{pk}/delivery-quote", Pool.PARTNER),
    _api("/categories"),
    _api("/states"),
    Route("/webhooks/partner", Pool.WEBHOOKS, max_body_bytes={"POST": MAX_WEBHOOK_BYTES}),
    Route("/", Pool.CHECKS),
    Route("/livez", Pool.LIVENESS, is_probe=True),
    Route("/readyz", Pool.CHECKS, is_probe=True),
    Route("/metrics", Pool.CHECKS, is_probe=True),
    Route("/favicon.ico"),
    Route("/openapi.json", is_cors_open=True),
    Route("/docs"),
    Route("/redoc"),
    Route("/admin"),
    Route("/admin/{path}", Pool.ADMIN, max_body_bytes={"POST": MAX_BODY_BYTES}),
)
UNKNOWN = Route()
UNKNOWN_API = _api()
API_PREFIXES = tuple(route.template for route in ROUTES if route.is_rate_limited and "{" not in route.template)


def _pattern(template: str) -> re.Pattern[str]:
    escaped = template.replace(".", r"\.")
    return re.compile(re.sub(r"{\w+}", lambda name: PARAMETERS[name[0]], escaped), re.DOTALL)


_PATTERNS = [(_pattern(route.template), route) for route in ROUTES]


def find(path: str) -> Route:
    return _find_cached(path) if len(path) <= MAX_PATH_LENGTH else _find(path)


def _find(path: str) -> Route:
    """A path below a rate-limited one is limited too, although no view answers it."""
    unknown = UNKNOWN_API if path.startswith(API_PREFIXES) else UNKNOWN
    return next((route for pattern, route in _PATTERNS if pattern.fullmatch(path)), unknown)


_find_cached = lru_cache(maxsize=4096)(_find)
