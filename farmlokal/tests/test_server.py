"""The running server: bytes on a socket, processes, log lines."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from dev.testing.databases import REPLICAS_UP
from dev.testing.offers import make_offers
from dev.testing.servers import Server, running
from dev.testing.waiting import wait_until
from farmlokal.edge import uploads
from farmlokal.edge.asgi_types import Message
from farmlokal.edge.request import EdgeRequest
from farmlokal.observability.log_formats import to_json

pytestmark = pytest.mark.usefixtures("live_database")

CLOSED = {"breakers": {"partner": "closed"}}


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    make_offers({"name": f"n{n}"} for n in range(30))
    with running(database_environment) as server:
        yield server


def test_next_link_leads_to_the_next_page(server: Server) -> None:
    first = server.request("/products?limit=20")
    assert first.status == 200
    assert len(first.json["results"]) == 20
    assert first.json["next"].startswith("http://localhost/products?limit=20&cursor=")
    second = server.request(first.json["next"].removeprefix("http://localhost"))
    assert len(second.json["results"]) == 10
    assert second.json["next"] is None


def test_head_has_the_headers_of_get_and_no_body(server: Server) -> None:
    get, head = server.request("/products"), server.request("/products", "HEAD")
    assert head.status == 200
    assert head.body == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))
    assert server.request("/nowhere", "HEAD").body == b""
    assert not [line for line in server.log_lines("request") if line["level"] == "warning"]
    assert "dropping" not in server.log.read_text()


def test_connection_continues_after_a_304(server: Server) -> None:
    url = f"/products/{server.request('/products?limit=1').json['results'][0]['id']}"
    full = server.request(url)
    ask = f"GET {url} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {full.headers['etag']}\r\n"
    unchanged = server.raw(f"{ask}\r\n{ask}Connection: close\r\n\r\n".encode())
    assert unchanged.status == 304
    assert not {"content-length", "transfer-encoding"} & unchanged.headers.keys()
    assert unchanged.body.startswith(b"HTTP/1.1 304 "), "the next response follows the headers directly"


def test_each_request_leaves_one_log_line_with_its_id(server: Server) -> None:
    answer = server.request("/products?limit=3", X_Request_ID="from-the-client.1")
    assert answer.headers["x-request-id"] == "from-the-client.1"
    (line,) = [line for line in server.log_lines("request") if line["request_id"] == "from-the-client.1"]
    assert line["method"] == "GET"
    assert line["path"] == "/products"
    assert line["route"] == "/products"
    assert line["status"] == 200
    assert line["milliseconds"] > 0


@pytest.mark.parametrize("malformed", ["", "with space", "a" * 129, "semi;colon", "ü"])
def test_malformed_request_id_is_replaced(server: Server, malformed: str) -> None:
    request_id = server.request("/livez", X_Request_ID=malformed).headers["x-request-id"]
    assert request_id != malformed
    assert len(request_id) == 32


def test_malformed_target_is_400_and_logs_no_traceback(server: Server) -> None:
    for target in (b"/products?cursor=\xe0\xa4\x86", b"/prod\xffucts", b"/products?a b"):
        answer = server.raw(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer.status == 400
    assert "Traceback" not in server.log.read_text()


def test_every_failure_is_a_problem_with_the_request_id(server: Server) -> None:
    failures = [
        (server.request("/nowhere"), 404, "not-found"),
        (server.request("/products", "POST"), 401, "not-authenticated"),
        (server.request("/products", "PUT"), 405, "method-not-allowed"),
        (server.request("/livez", "DELETE"), 405, "method-not-allowed"),
        (server.request("/static/admin/css/base.css", "POST"), 405, "method-not-allowed"),
        (server.request("/products?limit=x"), 400, "invalid-parameter"),
        (server.request("/products?cursor=" + "a" * 10_240), 400, "cursor-invalid"),
        (server.request("/products?cursor=" + "a" * 16_384), 414, "uri-too-long"),
        (server.request("/products", host="evil.example"), 400, "bad-request"),
        (server.request("/products?" + "&".join(f"p{n}=1" for n in range(1500))), 400, "bad-request"),
        (server.request("/admin/login/", "POST"), 403, "permission-denied"),
    ]
    for answer, status, code in failures:
        assert answer.status == status, answer
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["code"] == code
        assert answer.json["status"] == status
        assert answer.json["request_id"] == answer.headers["x-request-id"]
        assert {"type", "title", "detail", "instance"} < answer.json.keys()
        assert b"ALLOWED_HOSTS" not in answer.body
    assert server.request("/products", "PUT").headers["allow"] == "GET, POST, HEAD, OPTIONS"
    assert server.log_lines("internal_error") == []


def test_slow_senders_hold_no_thread(server: Server) -> None:
    head = (
        b"POST /products HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with contextlib.ExitStack() as stack:
        for _ in range(60):  # more than the threads of all workers
            stack.enter_context(server.connect()).sendall(head)
        for path in ("/livez", "/readyz", "/products?price_min=3"):
            assert server.request(path).status == 200


def test_body_that_does_not_arrive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive_nothing() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(_: Message) -> None:
        pass

    async def receive_body() -> None:
        headers = [(b"content-length", b"5")]
        scope = {"method": "POST", "path": "/products", "query_string": b"", "scheme": "http", "headers": headers}
        async with uploads.received(EdgeRequest(scope, receive_nothing, send)):
            pass

    monkeypatch.setattr(uploads, "WAIT_SECONDS", 0.01)
    with pytest.raises(uploads.RequestRefusedError, match="in time"):
        asyncio.run(receive_body())


def wait_until_stable(count: Callable[[], int]) -> None:
    """Until count() is the same half a second later."""
    before = -1
    while before != (before := count()):
        time.sleep(0.5)


def test_slow_and_leaving_readers_hold_no_thread(database_environment: dict[str, str]) -> None:
    with running(database_environment, WEB_CONCURRENCY="1") as server, contextlib.ExitStack() as stack:
        (large,) = re.findall(r'/static/[^"]*swagger-ui-bundle[^"]*', server.request("/docs").body.decode())
        for _ in range(16):  # one per thread
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", server.port))
            # Eight responses are more than the kernel buffers for one socket.
            reader.sendall(f"GET {large} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 8)
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
        wait_until_stable(lambda: len(server.log_lines("request")))
        assert server.request("/products?price_min=1").status == 200
        stack.close()
        assert server.request("/products?price_min=2").status == 200


def test_body_that_breaks_off_is_refused(server: Server) -> None:
    """The part that has arrived could pass for a whole form."""
    path = "/admin/login/?breaks-off=1"
    with server.connect() as sender:
        sender.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nusername=a".encode())

    def statuses() -> list[int]:
        return [line["status"] for line in server.log_lines("request") if "breaks-off" in line["query"]]

    wait_until(statuses)
    assert statuses() == [400]


def test_too_large_body_is_413(server: Server) -> None:
    head = b"POST /products HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n"
    answer = server.raw(head + b"x" * 3_000_000)
    assert answer.status == 413
    assert answer.json["code"] == "payload-too-large"


def test_absolute_target_names_the_host(server: Server) -> None:
    answer = server.request("http://localhost/products?limit=1", host="evil.example")
    assert answer.status == 200
    assert answer.json["next"].startswith("http://localhost/products?limit=1&cursor=")
    assert server.request("http://evil.example/products").json["code"] == "bad-request"
    for target in ("http://%FF/products", "http://%00/products", "ftp://localhost/products", "localhost:80"):
        assert server.request(target).status == 400, target
    assert server.request("*", "OPTIONS").status == 404


def test_request_line_is_measured_as_sent(server: Server) -> None:
    assert server.request("/products?cursor=" + "^" * 6_000).status == 400
    assert server.request("/" + "%41" * 7_000).status == 414


def test_forwarded_headers_count_only_behind_a_trusted_proxy(
    server: Server, database_environment: dict[str, str]
) -> None:
    def next_page(server: Server, proto: str, host: str) -> str:
        forwarded = {"X_Forwarded_Proto": proto, "X_Forwarded_Host": host}
        answer = server.request("/products?limit=1", **forwarded)
        assert answer.status == 200, (answer, server.log.read_text())
        assert ("strict-transport-security" in answer.headers) == answer.json["next"].startswith("https")
        return str(answer.json["next"]).partition("/products?")[0]

    assert next_page(server, "https", "shop.example") == "http://localhost"
    behind = {"TRUSTED_PROXY_HOPS": "1", "ALLOWED_HOSTS": "shop.example,localhost"}
    with running(database_environment, **behind) as proxied:
        assert next_page(proxied, "https", "shop.example") == "https://localhost"
        assert next_page(proxied, "https, http", "evil.example, shop.example") == "http://localhost"
        assert next_page(proxied, "gopher", "shop.example") == "http://localhost"
    with running(database_environment, **behind, TRUST_FORWARDED_HOST="on") as proxied:
        assert next_page(proxied, "http, https", "evil.example, shop.example") == "https://shop.example"
    two = behind | {"TRUSTED_PROXY_HOPS": "2", "TRUST_FORWARDED_HOST": "on"}
    with running(database_environment, **two) as proxied:
        assert next_page(proxied, "https, http", "shop.example, inner.local") == "https://shop.example"
        assert next_page(proxied, "https", "shop.example") == "https://shop.example"


def test_access_log_can_be_switched_off(database_environment: dict[str, str]) -> None:
    with running(database_environment, ACCESS_LOG="off") as quiet:
        assert quiet.request("/livez").status == 200
        assert quiet.log_lines("request") == []


def test_without_mysql_the_response_is_503_and_reveals_nothing(database_environment: dict[str, str]) -> None:
    with running(database_environment, DATABASE_URL="mysql://farmlokal:secret@127.0.0.1:1/farmlokal") as server:
        answer = server.request("/products?price_max=1.17")  # never cached
        assert answer.status == 503
        assert answer.json["code"] == "database-unavailable"
        assert answer.headers["retry-after"]
        assert b"127.0.0.1" not in answer.body
        ready = server.request("/readyz")
        assert ready.status == 503
        assert ready.json == {
            "status": "unavailable",
            "checks": {"mysql": "down", "redis": "up", **REPLICAS_UP},
            **CLOSED,
        }
        assert ready.headers["retry-after"]
        assert server.request("/livez").status == 200
        assert "secret" not in server.log.read_text()
        assert server.log_lines("database_unavailable")


def test_without_redis_the_listing_is_served(database_environment: dict[str, str]) -> None:
    with running(database_environment, REDIS_URL="redis://127.0.0.1:1/0") as server:
        assert server.request("/products").status == 200
        ready = server.request("/readyz")
        assert ready.status == 200
        assert ready.json == {"status": "degraded", "checks": {"mysql": "up", "redis": "down", **REPLICAS_UP}, **CLOSED}


def test_readyz_reports_each_dependency(server: Server) -> None:
    ready = server.request("/readyz")
    assert ready.status == 200
    assert ready.json == {"status": "ok", "checks": {"mysql": "up", "redis": "up", **REPLICAS_UP}, **CLOSED}
    assert server.request("/livez", "HEAD").status == 200


def test_log_line_takes_half_a_surrogate_pair() -> None:
    assert to_json({"event": "webhook_failed", "error": "\ud800"}) == '{"event": "webhook_failed", "error": "\\ud800"}'
