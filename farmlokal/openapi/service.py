"""The descriptions of the calls that are about the service itself."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema

from farmlokal.observability.metrics import BREAKER_STATES
from farmlokal.openapi.building import (
    HEADERS,
    IF_MATCH,
    IF_NONE_MATCH,
    answer,
    cache_control,
    closed,
    component,
    empty,
    etag,
    vary,
)
from farmlokal.openapi.problems import ANYWHERE, BAD_HOST, BROKEN, NOT_MATCHED, Refusal, refusals

DOCUMENT_CACHE_CONTROL = "public, max-age=60"

UP_OR_DOWN = {"type": "string", "enum": ["up", "down"]}
CHECKS = closed({"mysql": UP_OR_DOWN, "redis": UP_OR_DOWN})


BREAKERS = closed({"partner": {"type": "string", "enum": BREAKER_STATES}})


def ready(*states: str) -> dict[str, object]:
    return closed({"status": {"type": "string", "enum": list(states)}, "checks": CHECKS, "breakers": BREAKERS})


LIVE = component("Live", closed({"status": {"type": "string", "const": "ok"}}))
READY = component("Ready", ready("ok", "degraded"))
NOT_READY = component("NotReady", ready("unavailable"))
OPENAPI = component("OpenAPI", {"type": "object", "required": ["openapi", "info", "paths"]})

livez = extend_schema(
    operation_id="getLiveness",
    summary="Is the process up?",
    description="Does no I/O. For the platform: a process that does not answer is to be replaced.",
    tags=["service"],
    parameters=[*HEADERS],
    responses={200: answer(LIVE, "It is.", up={"status": "ok"}), **refusals("/livez", BAD_HOST, BROKEN)},
)
readyz = extend_schema(
    operation_id="getReadiness",
    summary="Can the catalogue be served?",
    description="Asks MySQL and Redis, each for one second at most, and says whether the calls to partners go through "
    "(`closed`). Without Redis the catalogue is slower, but there; without a partner it is whole.",
    tags=["service"],
    parameters=[*HEADERS, cache_control("no-store", 200, 503)],
    responses={
        200: answer(
            READY,
            "It can.",
            ok={"status": "ok", "checks": {"mysql": "up", "redis": "up"}, "breakers": {"partner": "closed"}},
            degraded={"status": "degraded", "checks": {"mysql": "up", "redis": "up"}, "breakers": {"partner": "open"}},
        ),
        **refusals("/readyz", BAD_HOST, BROKEN),
        503: answer(
            NOT_READY,
            "It cannot: MySQL is away.",
            unavailable={
                "status": "unavailable",
                "checks": {"mysql": "down", "redis": "up"},
                "breakers": {"partner": "closed"},
            },
        ),
    },
)
metrics = extend_schema(
    operation_id="getMetrics",
    summary="What Prometheus reads",
    description="All processes of this service summed. With METRICS_TOKEN set, for those who bring it as a bearer "
    "token; else for the machine itself.",
    tags=["service"],
    parameters=[*HEADERS, cache_control("no-store", 200)],
    responses={
        (200, "text/plain"): answer(
            {"type": "string"}, "Prometheus text.", some="farmlokal_rate_limit_local_total 0.0"
        ),
        **refusals(
            "/metrics",
            BAD_HOST,
            BROKEN,
            Refusal("not-authenticated", "Metrics need their token."),
            Refusal("not-found", "Metrics are off."),
            Refusal("permission-denied", "Without METRICS_TOKEN, metrics are for this machine alone."),
        ),
    },
)
openapi_json = extend_schema(
    operation_id="getOpenAPI",
    summary="This document",
    description="To read it: /docs and /redoc.",
    tags=["service"],
    parameters=[
        IF_MATCH,
        IF_NONE_MATCH,
        *HEADERS,
        etag(200, 304),
        cache_control(DOCUMENT_CACHE_CONTROL, 200, 304),
        vary(200, 304),
    ],
    responses={
        200: answer(OPENAPI, "OpenAPI 3.1.", start={"openapi": "3.1.0", "info": {"title": "FarmLokal"}, "paths": {}}),
        304: empty("Not modified: the client has it already."),
        **refusals("/openapi.json", NOT_MATCHED, *ANYWHERE),
    },
)
