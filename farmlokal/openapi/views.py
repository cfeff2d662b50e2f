"""The OpenAPI document, and two pages that show it. The pages load nothing from other hosts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import orjson
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.request import Request

from farmlokal.http.representations import Representation, respond
from farmlokal.openapi import service

DOCUMENT_HEADERS = {"Cache-Control": service.DOCUMENT_CACHE_CONTROL}
PAGE_HEADERS = {"Cache-Control": "public, max-age=60"}


@cache
def document() -> Representation:
    """Generated once per process: it depends on the code only."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    return Representation.of(orjson.dumps(generator.get_schema(public=True)))  # type: ignore[no-untyped-call]


@service.openapi_json
@api_view(["GET", "HEAD"])
@authentication_classes([])
def openapi_json(request: Request) -> HttpResponse:
    return respond(request, document(), DOCUMENT_HEADERS)


def _viewer(template: str) -> Callable[[HttpRequest], HttpResponse]:
    @csrf_exempt  # so that other methods get a 405
    @require_safe
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(render_to_string(template, request=request), headers=PAGE_HEADERS)

    return view


docs, redoc = _viewer("swagger.html"), _viewer("redoc.html")
