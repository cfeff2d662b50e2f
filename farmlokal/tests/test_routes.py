"""The route table covers the URL patterns, and decides by path alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.urls import Resolver404, URLResolver, get_resolver, resolve

from farmlokal import routes
from farmlokal.observability.logs import template_of
from farmlokal.routes import Pool

LONG = "/products/" + "x" * 300


def templates(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from templates(pattern, path)
        else:
            yield template_of(path)


def example_of(template: str) -> str:
    return re.sub(r"{\w+}", "7", template)


URL_PATTERNS = {template for template in templates(get_resolver()) if not template.startswith("/admin/")}
ROUTES = {route.template for route in routes.ROUTES if route.pool is not Pool.ADMIN}


def test_every_url_pattern_is_a_route_and_every_route_a_url_pattern() -> None:
    assert URL_PATTERNS == ROUTES


def test_every_admin_url_belongs_to_the_admin_route() -> None:
    found = [template for template in templates(get_resolver()) if template.startswith("/admin/")]
    assert len(found) > 10
    assert {routes.find(example_of(template)).pool for template in found} == {Pool.ADMIN}


@pytest.mark.parametrize("template", sorted(ROUTES))
def test_example_path_finds_its_route(template: str) -> None:
    assert routes.find(example_of(template)).template == template
    assert template_of(resolve(example_of(template)).route) == template


@pytest.mark.parametrize(
    ("path", "is_rate_limited"),
    [
        ("/nowhere", False),
        ("/livez/", False),
        ("/products/", True),
        ("/products/abc", True),
        ("/products/1/delivery-quotes", True),
        ("/categories\n", True),
        ("/statesman", True),
        (LONG, True),
    ],
)
def test_path_without_view_has_no_template(path: str, is_rate_limited: bool) -> None:
    with pytest.raises(Resolver404):
        resolve(path)
    route = routes.find(path)
    assert route.template == ""
    assert route.is_rate_limited == route.is_cors_open == is_rate_limited
    assert not route.max_body_bytes
