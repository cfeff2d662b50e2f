"""The edge answers as Django would, and never with an outdated page."""

from __future__ import annotations

import gzip
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from dev.testing.databases import one_mysql
from dev.testing.offers import make_offer
from dev.testing.redis_keys import forget_keys
from dev.testing.servers import Answer, Server, free_port, own_redis, running
from products import services
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

TIMEOUT_SECONDS = 60
LIMIT = '"anonymous";q=100000;w=10'


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    """One worker, so that all requests share its memory."""
    for n in range(30):
        make_offer(name=f"Offer {n}")
    with running(database_environment, WEB_CONCURRENCY="1", RATE_LIMIT_ANONYMOUS="100000/10") as started:
        yield started


VARYING = {"x-cache", "x-request-id", "ratelimit", "ratelimit-policy", "date", "allow"}


def constant_headers(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in VARYING}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("target", ["/products?limit=3", "/products?q=offer&sort=price", "/categories", "/states"])
def test_hit_equals_miss(server: Server, target: str, encoding: str, method: str) -> None:
    forget_keys()
    miss, hit = (server.request(target, method, Accept_Encoding=encoding) for _ in range(2))
    assert [answer.headers["x-cache"] for answer in (miss, hit)] == ["miss", "hit"]
    assert (hit.status, constant_headers(hit), hit.body) == (miss.status, constant_headers(miss), miss.body)
    assert hit.headers["ratelimit-policy"] == LIMIT
    assert re.fullmatch(r'"anonymous";r=\d+;t=1', hit.headers["ratelimit"])
    if encoding == "gzip" and method == "GET":
        plain = server.request(target)
        assert gzip.decompress(hit.body) == plain.body
        assert hit.headers["etag"] == f"W/{plain.headers['etag']}"


def test_304_of_the_edge_equals_304_of_django(server: Server) -> None:
    etag = server.request("/products?limit=4").headers["etag"]
    forget_keys()
    by_django, by_edge = (server.request("/products?limit=4", If_None_Match=f'"x", W/{etag}') for _ in range(2))
    assert [answer.headers["x-cache"] for answer in (by_django, by_edge)] == ["miss", "hit"]
    assert (by_edge.status, by_edge.body, constant_headers(by_edge)) == (304, b"", constant_headers(by_django))
    assert "content-length" not in by_edge.headers
    assert "content-type" not in by_edge.headers


def test_first_request_with_if_none_match_loses_no_headers(server: Server) -> None:
    etag = server.request("/products?limit=5").headers["etag"]
    other = "/products?limit=5&sort=-created_at"
    assert server.request(other, If_None_Match=etag).status == 304
    assert server.request(other).headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["/products?limit=8", "/categories"])
def test_if_match_is_checked_on_a_cached_page(server: Server, target: str, method: str) -> None:
    server.request(target)
    hot = server.request(target)
    assert hot.headers["x-cache"] == "hit"
    refused = server.request(target, method, If_Match='"nope"')
    assert (refused.status, refused.headers["content-type"]) == (412, "application/problem+json")
    assert server.request(target, method, If_Match=hot.headers["etag"]).status == 200
    assert constant_headers(server.request(target)) == constant_headers(hot)  # the edge learned nothing from the 412


@pytest.mark.parametrize("condition", ['"x"', "malformed"])
def test_refused_request_teaches_the_edge_no_headers(database_environment: dict[str, str], condition: str) -> None:
    """The first request of a process shows it the headers of a route."""
    with running(database_environment, WEB_CONCURRENCY="1") as new:
        for target in ("/products?limit=21", "/products?limit=22"):
            head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nIf_Match: {condition}\r\nConnection: close\r\n\r\n"
            new.raw(head.encode())
            answers = [new.request(target) for _ in range(2)]
            assert {answer.headers["cache-control"].split(",")[0] for answer in answers} == {"public"}


def test_single_product_is_never_compressed(server: Server) -> None:
    pk = server.request("/products?limit=1").json["results"][0]["id"]
    first, second = (server.request(f"/products/{pk}", Accept_Encoding="gzip") for _ in range(2))
    assert second.headers["x-cache"] == "hit"
    assert "content-encoding" not in second.headers
    assert second.headers["etag"] == first.headers["etag"]


def test_request_id_is_kept_or_replaced_and_logged(server: Server) -> None:
    for target in ("/products?limit=6", "/products?limit=6", "/products?limit=0"):
        answer = server.request(target, X_Request_ID="mine-1.2_3")
        assert answer.headers["x-request-id"] == "mine-1.2_3"
        replaced = server.request(target, X_Request_ID="not mine").headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", replaced)
    lines = [line for line in server.log_lines("request") if line["request_id"] == "mine-1.2_3"]
    assert [line["status"] for line in lines] == [200, 200, 400]
    assert lines[0].keys() == lines[1].keys()  # by Django and by the edge
    assert lines[1]["route"] == "/products"


def test_other_methods_reach_django(server: Server) -> None:
    assert server.request("/products", "POST").status == 401
    assert server.request("/products", "OPTIONS").status == 200
    assert server.request("/products", "PUT").status == 405


def test_each_host_has_its_own_page_and_a_wrong_one_none(server: Server) -> None:
    links = [server.request("/products?limit=7", host=host).json["next"] for host in ("localhost", "127.0.0.1") * 2]
    assert [link.split("/")[2] for link in links] == ["localhost", "127.0.0.1"] * 2
    assert [server.request("/products?limit=7", host="evil.example").status for _ in range(2)] == [400, 400]


COOKIES = "sessionid=x; csrftoken=!"  # both malformed: Django would delete the first and replace the second


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "target", ["/products?limit={}", "/products/{pk}?fields={}", "/categories", "/states", "/docs"]
)
def test_cookies_of_one_client_reach_no_other(server: Server, target: str, encoding: str) -> None:
    pk = server.request("/products?limit=1").json["results"][0]["id"]
    for spelling in ("12", "012", "0012"):
        forget_keys()
        with_cookies = server.request(target.format(spelling, pk=pk), Cookie=COOKIES, Accept_Encoding=encoding)
        for answer in (with_cookies, *(server.request(target.format(spelling, pk=pk)) for _ in range(2))):
            assert "set-cookie" not in answer.headers
            assert "cookie" not in answer.headers.get("vary", "").lower()


def test_cookies_reach_no_request_that_waits_for_the_page(server: Server) -> None:
    def ask(number: int) -> Answer:
        return server.request("/products?limit=13", **{"Cookie": COOKIES} if number % 4 == 0 else {})

    for _ in range(5):
        forget_keys()
        with ThreadPoolExecutor(12) as callers:
            answers = list(callers.map(ask, range(12)))
        assert {answer.status for answer in answers} == {200}
        assert not [answer for answer in answers if "set-cookie" in answer.headers]


def test_invalid_query_is_refused_each_time(server: Server) -> None:
    answers = [server.request("/products?colour=red") for _ in range(3)]
    assert {(answer.status, answer.json["code"]) for answer in answers} == {(400, "invalid-parameter")}


def commands(client: redis.Redis) -> int:
    """Scripts that clients have sent."""
    stats: dict[str, Any] = client.info("commandstats")
    return int(sum(stat["calls"] for name, stat in stats.items() if name in {"cmdstat_evalsha", "cmdstat_eval"}))


PLAIN = {"REDIS_HASH_TAGS": "1", "METRICS": "off"}


def test_hit_costs_one_redis_command_and_miss_two(database_environment: dict[str, str], tmp_path: Path) -> None:
    """Scripts that Redis has lost are sent again. With metrics, each process would send a report now and then."""
    with (
        own_redis(tmp_path) as alone,
        redis.Redis.from_url(alone.url) as client,
        running(database_environment, WEB_CONCURRENCY="1", REDIS_URL=alone.url, **PLAIN) as server,
    ):

        def cost(*targets: str) -> tuple[list[str], int]:
            client.config_resetstat()
            results = [server.request(target).headers["x-cache"] for target in targets]
            return results, commands(client)

        server.request("/products?limit=8")
        assert cost(*["/products?limit=8"] * 20) == (["hit"] * 20, 20)
        assert cost("/products?limit=9") == (["miss"], 2)
        client.script_flush()
        assert cost("/products?limit=9") == (["hit"], 2)


def metric(server: Server, name: str) -> float:
    text = server.request("/metrics").body.decode()
    values = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(values[0]) if values else 0.0


def test_metrics_count_hits_misses_and_errors(server: Server) -> None:
    def counted() -> list[float]:
        names = [
            'farmlokal_requests_total{method="GET",route="/products",status="200"}',
            'farmlokal_requests_total{method="GET",route="/products",status="400"}',
            'farmlokal_request_seconds_count{route="/products"}',
            'farmlokal_page_cache_total{result="hit"}',
            'farmlokal_page_cache_total{result="miss"}',
        ]
        return [metric(server, name) for name in names]

    server.request("/products?limit=10")
    before = counted()
    for target in ("/products?limit=10", "/products?limit=10", "/products?limit=0", "/products?limit=11"):
        server.request(target)
    assert [after - old for after, old in zip(counted(), before, strict=True)] == [3, 1, 4, 2, 1]
    assert metric(server, 'farmlokal_dependency_up{name="mysql"}') == 1
    assert metric(server, 'farmlokal_sql_statements_total{route="/products"}') >= 1
    assert metric(server, 'farmlokal_redis_commands_total{route="/products"}') >= 4


def test_metrics_are_summed_over_all_workers(database_environment: dict[str, str]) -> None:
    with running(database_environment, WEB_CONCURRENCY="3") as several:
        for _ in range(30):
            several.request("/products?limit=2")
        name = 'farmlokal_requests_total{method="GET",route="/products",status="200"}'
        assert {metric(several, name) for _ in range(5)} == {30.0}


def test_metrics_need_the_token_if_one_is_set(database_environment: dict[str, str]) -> None:
    with running(database_environment, METRICS_TOKEN="secret") as guarded:
        for authorization, status in {"": 401, "Bearer wrong": 401, "Bearer secret": 200}.items():
            assert guarded.request("/metrics", Authorization=authorization).status == status


@pytest.mark.parametrize("hops", ["0", "1"])
def test_metrics_without_token_are_refused_through_a_proxy(database_environment: dict[str, str], hops: str) -> None:
    """The proxy may run on the same machine."""
    with running(database_environment, TRUSTED_PROXY_HOPS=hops, WEB_CONCURRENCY="1") as server:
        assert server.request("/metrics").status == 200
        for address in ("203.0.113.9", "127.0.0.1", ""):
            assert server.request("/metrics", X_Forwarded_For=address).status == 403
            assert server.request("/metrics", Forwarded=f"for={address}").status == 403
            assert server.request("/metrics", X_Real_IP=address).status == 403


def test_metrics_can_be_switched_off(database_environment: dict[str, str]) -> None:
    with running(database_environment, METRICS="off") as uncounted:
        assert [uncounted.request("/products?limit=10").status for _ in range(3)] == [200] * 3
        assert uncounted.request("/metrics").json["code"] == "not-found"


def test_429_is_a_problem_with_the_time_to_wait(database_environment: dict[str, str]) -> None:
    forget_keys()
    with running(database_environment, RATE_LIMIT_ANONYMOUS="2/60") as strict:
        answers = [strict.request("/products?limit=2", X_Request_ID="r-1") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        refused = answers[2]
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["ratelimit"] == f'"anonymous";r=0;t={refused.headers["retry-after"]}'
        assert (refused.json["code"], refused.json["instance"], refused.json["request_id"]) == (
            *("rate-limited", "/products", "r-1"),
        )
        assert strict.request("/products?limit=2", "HEAD").body == b""
        assert strict.request("/livez").status == 200
        assert metric(strict, 'farmlokal_rate_limited_total{policy="anonymous"}') == 2
        assert [line["status"] for line in strict.log_lines("request")][:3] == [200, 200, 429]


def get_repeatedly(server: Server, target: str, times: int) -> list[tuple[int, str]]:
    """(status, X-Cache) of requests over one connection."""
    connection, results = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS), []
    for _ in range(times):
        connection.request("GET", target, headers={"Host": "localhost"})
        answer = connection.getresponse()
        answer.read()
        results.append((answer.status, answer.headers["X-Cache"]))
    connection.close()
    return results


STATEMENTS = 'farmlokal_sql_statements_total{route="/products"}'


@one_mysql
def test_500_requests_for_a_missing_page_cost_one_statement(database_environment: dict[str, str]) -> None:
    """Over four processes. Requests before it open all database connections."""
    with running(database_environment, WEB_CONCURRENCY="4", RATE_LIMIT_ANONYMOUS="off") as several:
        with ThreadPoolExecutor(100) as callers:
            list(callers.map(lambda n: get_repeatedly(several, f"/products?sort=name&price_min={n}", 1), range(800)))
            connections = [HTTPConnection("127.0.0.1", several.port, timeout=TIMEOUT_SECONDS) for _ in range(500)]
            for connection in connections:
                connection.connect()
            forget_keys()
            before = metric(several, STATEMENTS)
            for connection in connections:
                connection.request("GET", "/products", headers={"Host": "localhost"})
            answers = [connection.getresponse() for connection in connections]
            results = {(answer.status, answer.headers["X-Cache"]) for answer in answers}
        assert results <= {(200, "miss"), (200, "hit")}
        assert metric(several, STATEMENTS) - before == 1
        for connection in connections:
            connection.close()


def test_next_request_to_another_process_shows_the_write(
    database_environment: dict[str, str],
) -> None:
    """A thousand times, while other clients read the page."""
    product: Product = make_offer(name="Written")
    target, stop = f"/products?ids={product.pk}", threading.Event()
    with running(database_environment, RATE_LIMIT_ANONYMOUS="off", ACCESS_LOG="off") as server:

        def count_hits(_: int) -> int:
            count = 0
            while not stop.is_set():
                count += [result for _, result in get_repeatedly(server, target, 50)].count("hit")
            return count

        with ThreadPoolExecutor(2) as readers:
            hits = [readers.submit(count_hits, n) for n in range(2)]
            reader = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
            try:
                for n in range(1, 1001):
                    services.change(product.pk, stock=n)
                    reader.request("GET", target, headers={"Host": "localhost"})
                    assert f'"stock":{n},'.encode() in reader.getresponse().read()
            finally:
                stop.set()
            assert sum(hit.result() for hit in hits) > 0


def test_pages_survive_a_restart(database_environment: dict[str, str]) -> None:
    """A new process finds them by addresses that it has never seen."""
    targets = [f"/products?limit={n}&sort=price" for n in range(1, 20)]
    forget_keys()
    for expected in ("miss", "hit"):
        with running(database_environment, RATE_LIMIT_ANONYMOUS="off", REDIS_TIMEOUT_SECONDS="1") as server:
            assert {server.request(target).headers["x-cache"] for target in targets} == {expected}


def test_write_missed_by_redis_shows_after_a_restart(database_environment: dict[str, str], tmp_path: Path) -> None:
    """The writer cannot reach Redis, which goes on without a restart, and dies at once."""
    product: Product = make_offer(name="Before")
    target = f"/products?ids={product.pk}"
    change = f"from products import services; services.change({product.pk}, name='After'); os.kill(os.getpid(), 9)"
    with own_redis(tmp_path) as alone:
        environment = database_environment | {"REDIS_URL": alone.url, "REDIS_TIMEOUT_SECONDS": "1"}
        with running(environment) as server:
            assert [server.request(target).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]
            shell = [sys.executable, "manage.py", "shell", "-v0", "-c", f"import os; {change}"]
            cut_off = environment | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
            assert subprocess.run(shell, env=cut_off, check=False).returncode == -signal.SIGKILL
            assert server.request(target).json["results"][0]["name"] == "Before"  # which no process knows
        with running(environment) as server:
            assert server.request(target).json["results"][0]["name"] == "After"


def test_process_that_starts_without_mysql_trusts_no_page(database_environment: dict[str, str], tmp_path: Path) -> None:
    """It cannot know whether Redis has missed a write. Without MySQL it serves the page as stale."""
    with own_redis(tmp_path) as alone:
        environment = database_environment | {"REDIS_URL": alone.url, "REDIS_TIMEOUT_SECONDS": "1"}
        with running(environment) as server:
            assert [server.request("/products").headers["x-cache"] for _ in range(2)] == ["miss", "hit"]
        cut_off = urlsplit(environment["DATABASE_URL"])._replace(netloc=f"u:p@127.0.0.1:{free_port()}").geturl()
        with running(environment, DATABASE_URL=cut_off) as server:
            assert server.request("/products").headers["x-cache"] == "stale"


def test_get_with_an_unfinished_body_is_answered(server: Server) -> None:
    answer = server.raw(b"GET /products?limit=14 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
    assert answer.status == 200
    assert answer.headers["connection"] == "close"


def test_non_ascii_bytes_in_the_target_cause_no_error(server: Server) -> None:
    for target in (b"/products?q=\xe0\xa4\x86", b"/products?\xff=1", b"/products\xff"):
        head = b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert server.raw(head).status in {200, 400, 404}, target
