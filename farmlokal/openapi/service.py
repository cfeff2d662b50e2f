"""The OpenAPI descriptions of the service's own operations: health, metrics, the document."""

from __future__ import annotations

from typing import Any, TypeAlias

from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from farmlokal.http.problems import Problem
from farmlokal.observability.metrics import BREAKER_STATES
from farmlokal.openapi.parameters import CONDITIONAL_READ, NOT_MODIFIED, cache_control, response, vary
from farmlokal.openapi.problems import ANYWHERE, BAD_HOST, BROKEN, NOT_MATCHED, problem_responses

DOCUMENT_CACHE_CONTROL = "public, max-age=60"
STATES = ("up", "down", "read-only")
METRICS_ARE_OFF = "Metrics are off."
METRICS_NEED_TOKEN = "Metrics need their token."  # noqa: S105  # not a token
METRICS_ARE_LOCAL = "Without METRICS_TOKEN, only this machine may read metrics."

Serializer: TypeAlias = serializers.Serializer[Any]


class LiveSerializer(Serializer):
    status = serializers.ChoiceField(["ok"])


class ChecksSerializer(Serializer):
    mysql = serializers.ChoiceField(STATES)
    redis = serializers.ChoiceField(STATES)
    mysql_replica1 = serializers.ChoiceField(
        ("up", "down", "behind"), required=False, help_text="The first read replica, if there is one; others follow."
    )


class BreakersSerializer(Serializer):
    partner = serializers.ChoiceField(BREAKER_STATES)


class ReadySerializer(Serializer):
    status = serializers.ChoiceField(["ok", "degraded"])
    checks = ChecksSerializer()
    breakers = BreakersSerializer()


class NotReadySerializer(ReadySerializer):
    status = serializers.ChoiceField(["unavailable"])


class OpenAPISerializer(Serializer):
    is_open = True

    openapi = serializers.CharField()
    info = serializers.DictField()
    paths = serializers.DictField()


def readiness(status: str, mysql: str = "up", breaker: str = "closed") -> dict[str, Any]:
    return {"status": status, "checks": {"mysql": mysql, "redis": "up"}, "breakers": {"partner": breaker}}


livez = extend_schema(
    operation_id="getLiveness",
    summary="Is the process up?",
    description="Does no I/O. The platform should replace a process that does not answer.",
    tags=["service"],
    responses={
        200: response(LiveSerializer, "The process is up.", up={"status": "ok"}),
        **problem_responses("/livez", BAD_HOST, BROKEN),
    },
)
readyz = extend_schema(
    operation_id="getReadiness",
    summary="Can the catalogue be served?",
    description="Checks MySQL and Redis, for at most one second each, and reports the circuit breakers of partners "
    "(`closed`: calls go through). A read-only MySQL refuses writes. Without Redis the catalogue is slower. Without a "
    "partner it is complete.",
    tags=["service"],
    parameters=[cache_control("no-store", 200, 503)],
    responses={
        200: response(
            ReadySerializer,
            "The catalogue can be served.",
            ok=readiness("ok"),
            degraded=readiness("degraded", breaker="open"),
        ),
        **problem_responses("/readyz", BAD_HOST, BROKEN),
        503: response(NotReadySerializer, "MySQL is down.", unavailable=readiness("unavailable", mysql="down")),
    },
)
metrics = extend_schema(
    operation_id="getMetrics",
    summary="Metrics for Prometheus",
    description="The sum over all processes. Requires METRICS_TOKEN as a bearer token. If none is set, only the "
    "machine itself may read metrics.",
    tags=["service"],
    parameters=[cache_control("no-store", 200)],
    responses={
        (200, "text/plain"): response(
            {"type": "string"}, "Prometheus text.", some="farmlokal_rate_limit_local_total 0.0"
        ),
        **problem_responses(
            "/metrics",
            BAD_HOST,
            BROKEN,
            Problem("not-authenticated", METRICS_NEED_TOKEN),
            Problem("not-found", METRICS_ARE_OFF),
            Problem("permission-denied", METRICS_ARE_LOCAL),
        ),
    },
)
openapi_json = extend_schema(
    operation_id="getOpenAPI",
    summary="This document",
    description="For people: /docs and /redoc.",
    tags=["service"],
    parameters=[*CONDITIONAL_READ, cache_control(DOCUMENT_CACHE_CONTROL, 200, 304), vary(200, 304)],
    responses={
        200: response(
            OpenAPISerializer, "OpenAPI 3.1.", start={"openapi": "3.1.0", "info": {"title": "FarmLokal"}, "paths": {}}
        ),
        304: NOT_MODIFIED,
        **problem_responses("/openapi.json", NOT_MATCHED, *ANYWHERE),
    },
)
