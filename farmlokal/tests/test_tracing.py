"""OpenTelemetry's collector gets the spans of a request, and Sentry its error. Both are real HTTP servers here."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import urllib3
from django.conf import settings
from django.db import connection
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pytest_httpserver import HTTPServer

from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.offers import make_offer
from dev.testing.partner import partner, settings_for
from dev.testing.servers import GUNICORN, Server, running
from dev.testing.sockets import blackhole
from dev.testing.waiting import wait_until
from farmlokal.observability import error_reports
from integrations.tests.memory import reset_all

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SPAN_KINDS = Span.SpanKind
# OpenTelemetry alone would wait 30 s for a dead collector, and gunicorn would kill the worker after 25 s.
SECONDS_TO_STOP = 15


class Watched(NamedTuple):
    """A service, and what its collector and its Sentry got."""

    server: Server
    collector: HTTPServer
    product: int

    def spans(self, trace_id: str) -> list[Span]:
        """Those of one trace, once the span of the server is there, which ends last."""

        def found() -> list[Span]:
            return [span for span in exported(self.collector) if span.trace_id.hex() == trace_id]

        wait_until(lambda: any(span.kind == SPAN_KINDS.SPAN_KIND_SERVER for span in found()))
        return found()

    def reports(self, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(reported(self.collector)) >= count)
        time.sleep(0.5)  # another one would arrive with it
        return reported(self.collector)


def exported(collector: HTTPServer) -> Iterator[Span]:
    for request, _ in collector.log:
        if request.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(request.data).resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                assert names["service.name"] == "farmlokal"
                for scope in resource.scope_spans:
                    yield from scope.spans


def envelopes(collector: HTTPServer) -> list[str]:
    """As text; urllib3 knows each Content-Encoding that Sentry may choose."""
    requests = [request for request, _ in collector.log if request.path == "/api/7/envelope/"]
    encoded = [urllib3.HTTPResponse(io.BytesIO(one.data), headers=dict(one.headers)) for one in requests]
    return [response.data.decode() for response in encoded]


def reported(collector: HTTPServer) -> list[dict[str, Any]]:
    lines = [json.loads(line) for text in envelopes(collector) for line in text.splitlines() if line]
    return [line for line in lines if "exception" in line]


def attributes(span: Span) -> dict[str, str | int]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.fixture(scope="module")
def watched(live_database: None, database_environment: dict[str, str]) -> Iterator[Watched]:
    reset_all()
    product = make_offer()
    with HTTPServer(threaded=True) as collector, partner() as sandbox:
        collector.expect_request("/v1/traces").respond_with_data("")
        collector.expect_request("/api/7/envelope/").respond_with_json({})
        settings = settings_for(sandbox) | {
            "PARTNER_DEADLINE_SECONDS": "20",
            "PARTNER_WEBHOOK_SECRETS": SECRET,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url_for(""),
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_TRACES_SAMPLER": "",
            "SENTRY_DSN": collector.url_for("/7").replace("http://", "http://public@"),
        }
        with running(database_environment, WEB_CONCURRENCY="1", **settings) as server:
            yield Watched(server, collector, product.pk)


def caller(number: int, flags: str = "01") -> tuple[str, str]:
    """A trace id, and its traceparent."""
    trace_id = f"{TRACE[:-2]}{number:02x}"
    return trace_id, f"00-{trace_id}-{SPAN}-{flags}"


def test_quote_is_one_trace_with_all_its_parts(watched: Watched) -> None:
    trace_id, traceparent = caller(1)
    target = f"/products/{watched.product}/delivery-quote?pincode=560001"
    headers = {"traceparent": traceparent, "tracestate": "a=1", "X_Request_ID": "traced"}
    assert watched.server.request(target, **headers).status == 200
    spans = watched.spans(trace_id)
    (server,) = [span for span in spans if span.kind == SPAN_KINDS.SPAN_KIND_SERVER]
    assert (server.name, server.parent_span_id.hex()) == ("GET /products/{pk}/delivery-quote", SPAN)
    assert server.trace_state == "a=1"
    expected = {
        "http.request.method": "GET",
        "http.route": "/products/{pk}/delivery-quote",
        "http.response.status_code": 200,
        "url.path": f"/products/{watched.product}/delivery-quote",
        "url.query": "pincode=560001",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "farmlokal.request_id": "traced",
    }
    assert attributes(server) == expected
    parts = {span.name: span for span in spans if span is not server}
    assert {"EVALSHA admit_batch", "SELECT", "EVALSHA find_quote", "GET", "POST"} <= parts.keys()
    assert {span.kind for span in parts.values()} == {SPAN_KINDS.SPAN_KIND_CLIENT}
    assert {span.parent_span_id for span in parts.values()} == {server.span_id}
    assert all(server.start_time_unix_nano <= span.start_time_unix_nano for span in parts.values())
    assert str(attributes(parts["SELECT"])["db.query.text"]).startswith("SELECT")
    assert attributes(parts["GET"])["http.response.status_code"] == 200
    assert str(attributes(parts["GET"])["url.full"]).endswith("/v1/quotes")


def test_hit_has_a_server_span_and_its_round_trip(watched: Watched) -> None:
    watched.server.request("/products?limit=1")
    trace_id, traceparent = caller(2)
    assert watched.server.request("/products?limit=1&", traceparent=traceparent).status == 200
    answer = watched.server.request("/products?limit=1", traceparent=traceparent)
    assert answer.headers["x-cache"] == "hit"
    wait_until(lambda: len(servers(watched, trace_id)) == 2)
    hit = servers(watched, trace_id)[-1]
    assert [span.name for span in watched.spans(trace_id) if span.parent_span_id == hit.span_id] == [
        "EVALSHA admit_batch"
    ]


def servers(watched: Watched, trace_id: str) -> list[Span]:
    return [span for span in watched.spans(trace_id) if span.kind == SPAN_KINDS.SPAN_KIND_SERVER]


def test_new_trace_has_the_same_id_in_the_log(watched: Watched) -> None:
    watched.server.request("/nowhere?q=hush", X_Request_ID="unknown")
    wait_until(lambda: [line for line in watched.server.log_lines("request") if line["request_id"] == "unknown"])
    (line,) = [line for line in watched.server.log_lines("request") if line["request_id"] == "unknown"]
    (span,) = [span for span in watched.spans(line["trace_id"]) if not span.parent_span_id]
    assert span.name == "GET"
    assert attributes(span)["url.query"] == "q=…"


def test_unsampled_requests_and_probes_are_not_exported(watched: Watched) -> None:
    unsampled, traceparent = caller(3, flags="00")
    probed, of_probe = caller(4)
    watched.server.request("/products?limit=2", traceparent=traceparent, X_Request_ID="unsampled")
    watched.server.request("/readyz", traceparent=of_probe)
    last, of_last = caller(5)
    watched.server.request("/categories", traceparent=of_last)
    watched.spans(last)
    assert {span.trace_id.hex() for span in exported(watched.collector)}.isdisjoint({unsampled, probed})
    (line,) = [line for line in watched.server.log_lines("request") if line["request_id"] == "unsampled"]
    assert line["trace_id"] == unsampled


@contextmanager
def without_table(name: str) -> Iterator[None]:
    """Statements that need the table fail."""
    with connection.cursor() as cursor:
        cursor.execute(f"RENAME TABLE {name} TO hidden")
        try:
            yield
        finally:
            cursor.execute(f"RENAME TABLE hidden TO {name}")


def test_internal_error_is_reported_once_without_secrets(watched: Watched) -> None:
    trace_id, traceparent = caller(6)
    secret = "hush-hush-hush"
    headers = {"Cookie": f"sessionid={secret}", "X_Api_Key": secret, "User_Agent": secret, "X_Request_ID": "broken"}
    target = f"/products/{watched.product}"
    with without_table("products_product"):
        assert watched.server.request(f"{target}?token={secret}", traceparent=traceparent, **headers).status == 400
        assert watched.server.request(target, traceparent=traceparent, **headers).status == 500
        (report,) = watched.reports(1)
    assert report["tags"] | {"request_id": "broken", "trace_id": trace_id, "event": "internal_error"} == report["tags"]
    assert report["release"] == f"farmlokal@{settings.VERSION}"
    assert report["exception"]["values"][-1]["type"] == "ProgrammingError"
    for private in ("request", "user", "extra"):
        assert not report.get(private)
    text = "".join(envelopes(watched.collector))
    assert '"vars"' not in text
    assert secret not in text
    failed = [span for span in watched.spans(trace_id) if span.status.code == Status.STATUS_CODE_ERROR]
    assert {span.name for span in failed} == {"GET /products/{pk}", "SELECT"}


@pytest.mark.parametrize(
    "text",
    [
        "mysql://user:hush@db:3306/x",
        "Authorization: Bearer hush.",
        "basic aHVzaA== refused",
        "sent eyJhbGci.eyJzdWIi.c2ln",
    ],
)
def test_credentials_in_the_text_of_an_error_are_hidden(text: str) -> None:
    hidden = error_reports._without_secrets({"exception": {"values": [{"value": text}]}}, {})
    assert "…" in str(hidden)
    assert not re.search("hush|aHVz|eyJ", str(hidden))


ASYNCIO_ERROR = """
import django; django.setup()
import asyncio
async def fail(): raise ValueError("mysql://user:hush@db/x")
async def main(): asyncio.ensure_future(fail()); await asyncio.sleep(0)
asyncio.run(main())
"""


def test_event_of_a_report_has_no_password(watched: Watched, database_environment: dict[str, str]) -> None:
    before = len(reported(watched.collector))
    dsn = watched.collector.url_for("/7").replace("http://", "http://public@")
    environment = {**database_environment, "SENTRY_DSN": dsn, "DJANGO_SETTINGS_MODULE": "farmlokal.settings"}
    subprocess.run([sys.executable, "-c", ASYNCIO_ERROR], env=environment, check=True, stdout=subprocess.DEVNULL)
    *_, report = watched.reports(before + 1)
    assert report["tags"]["event"].startswith("Task exception was never retrieved")
    assert "hush" not in str(report["tags"])


def test_failed_webhook_is_reported_without_its_body(watched: Watched) -> None:
    delivery = Delivery(event(watched.product, price="12345.67"))
    before = len(reported(watched.collector))
    with without_table("integrations_appliedversion"):
        assert watched.server.post("/webhooks/partner", delivery.body, [*delivery.headers.items()]).status == 500
        *_, report = watched.reports(before + 1)
    assert len(reported(watched.collector)) == before + 1
    assert report["tags"]["webhook_id"] == delivery.webhook_id
    assert "12345.67" not in "".join(envelopes(watched.collector))


def test_dead_collector_delays_neither_requests_nor_the_end(
    live_database: None, database_environment: dict[str, str]
) -> None:
    with blackhole() as port:
        url = f"http://127.0.0.1:{port}/v1/traces"
        settings = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with running(database_environment, WEB_CONCURRENCY="1", **settings) as server:
            for _ in range(20):
                assert server.request("/products").status == 200
            began = time.monotonic()
            server.process.terminate()
            server.process.wait()
            assert time.monotonic() - began < SECONDS_TO_STOP
            assert "SIGKILL" not in server.log.read_text()


# The switch

# redis-py imports OpenTelemetry's metrics wherever it finds them, so their names do not count.
IMPORTED = """
import sys
import farmlokal.asgi
optional = ('opentelemetry.exporter', 'opentelemetry.sdk.trace', 'sentry_sdk', 'farmlokal.observability.spans')
print([name for name in sys.modules if name.startswith(optional)])
"""
HIDING = """
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name.partition('.')[0] in {hidden}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing)
"""


def hide(folder: Path, *packages: str) -> dict[str, str]:
    """Variables for a Python process that finds none of these packages."""
    (folder / "sitecustomize.py").write_text(HIDING.format(hidden=packages))
    return {"PYTHONPATH": f"{folder}:{Path.cwd()}"}


@pytest.mark.parametrize("hidden", [(), ("opentelemetry", "sentry_sdk", "google")])
def test_service_needs_and_imports_no_extra_while_off(
    database_environment: dict[str, str], tmp_path: Path, hidden: tuple[str, ...]
) -> None:
    environment = database_environment | hide(tmp_path, *hidden)
    run = [sys.executable, "-c", IMPORTED]
    assert subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("variable", "value", "package", "extra"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "opentelemetry", "telemetry"),
        ("SENTRY_DSN", "https://public@sentry.example/7", "sentry_sdk", "sentry"),
    ],
)
def test_missing_package_stops_the_start_with_one_line(
    tmp_path: Path, variable: str, value: str, package: str, extra: str
) -> None:
    environment = {**os.environ, "ALLOWED_HOSTS": "localhost", variable: value} | hide(tmp_path, package)
    done = subprocess.run([GUNICORN, "--check-config"], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'farmlokal: Environment variable "{variable}" needs more packages')
    assert line.endswith(f"pip install -r requirements-{extra}.txt")
