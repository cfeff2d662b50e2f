"""Log lines are safe for terminals, and hide secrets that clients send by mistake."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farmlokal.urls  # noqa: F401  # registers the parameters
from dev.testing.offers import make_offer
from dev.testing.redis_keys import forget_keys
from dev.testing.servers import Server, running
from dev.testing.waiting import wait_until
from farmlokal.observability.log_formats import Pretty, to_json
from farmlokal.observability.logs import MAX_QUERY_LENGTH, loggable

pytestmark = pytest.mark.usefixtures("live_database")

# Escape, delete, C1 control, soft hyphen, direction marks, separators, byte order mark, language tag.
UNSAFE = [*"\x1b\x7f\x9b\xad\u061c\u200b\u202e\u2028\u2029\u2066\ufeff", "\U000e0041"]
UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
SECRET = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzaG9wIn0.c2lnbmF0dXJl"


def test_closed_standard_output_costs_only_the_log(database_environment: dict[str, str]) -> None:
    code = "from farmlokal.observability import logs; logs.log_request(*['x'] * 4, '', None, 200, 1, ''); logs.flush()"
    command = f'"{sys.executable}" -c "import django; django.setup(); {code}" >&-'
    environment = {**database_environment, "DJANGO_SETTINGS_MODULE": "farmlokal.settings", "PYTHONPATH": "."}
    done = subprocess.run(["sh", "-c", command], env=environment, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    make_offer()
    with running(database_environment, LOG_LEVEL="DEBUG") as started:
        yield started


def line_of(server: Server, request_id: str) -> dict[str, Any]:
    def lines() -> list[dict[str, Any]]:
        return [line for line in server.log_lines("request") if line["request_id"] == request_id]

    wait_until(lines)
    (line,) = lines()
    return line


# Characters


def assert_safe(line: str) -> None:
    assert not UNSAFE_CATEGORIES & {unicodedata.category(char) for char in line}


@pytest.mark.parametrize("char", UNSAFE)
def test_unsafe_character_is_escaped_in_any_field(char: str) -> None:
    event = {"event": f"a{char}b", f"key{char}": [char], "error": ValueError(char)}
    line = to_json(event)
    assert_safe(line)
    assert json.loads(line) == {"event": f"a{char}b", f"key{char}": [char], "error": repr(ValueError(char))}


@given(st.text(st.characters(codec="utf-8")))
def test_line_parses_to_the_same_event(text: str) -> None:
    line = to_json({"event": text})
    assert_safe(line)
    assert json.loads(line) == {"event": text}


@given(st.text(st.characters()))
def test_lone_surrogates_are_escaped(text: str) -> None:
    line = to_json({"event": text + "\ud800"})
    assert_safe(line)
    assert json.loads(line) == {"event": text + "\ud800"}


def test_letters_of_indian_scripts_stay_readable() -> None:
    assert to_json({"event": "आम"}) == '{"event":"आम"}'


# Text for a terminal


@pytest.fixture
def pretty(monkeypatch: pytest.MonkeyPatch) -> Pretty:
    monkeypatch.setenv("NO_COLOR", "1")
    return Pretty()


@pytest.mark.parametrize("char", [*UNSAFE, "\n", "\r"])
def test_unsafe_character_is_escaped_in_text(pretty: Pretty, char: str) -> None:
    event = {"event": f"a{char}b", f"key{char}": [char], "error": ValueError(char), "time": "2026-11-29T11:05:02.1Z"}
    assert_safe(pretty(None, "", event))


def test_traceback_cannot_forge_a_line_of_text(pretty: Pretty) -> None:
    exception = "Traceback:\nValueError: a\x1b[2J\n11:05:02Z [info     ] forged\r"
    event = {"event": "internal_error", "level": "error", "time": "2026-11-29T11:05:02.123Z", "exception": exception}
    first, *rest = pretty(None, "", event).split("\n")
    assert first.startswith("11:05:02Z [error    ] internal_error")
    assert rest == ["    Traceback:", r"    ValueError: a\u001b[2J", r"    11:05:02Z [info     ] forged\r"]


LOG_A_REQUEST = """
from django.conf import settings
settings.LOGGING
from farmlokal.observability.logs import log_request
log_request("rid", "tid", "GET", "/products", "", "/products", 200, 0.0012, "127.0.0.1")
"""


def logged(output: int, **changes: str) -> None:
    variables = {**os.environ, "ALLOWED_HOSTS": "localhost", "DJANGO_SETTINGS_MODULE": "farmlokal.settings"} | changes
    subprocess.run([sys.executable, "-c", LOG_A_REQUEST], env=variables, stdout=output, check=True)


def logged_on_a_terminal(**changes: str) -> str:
    controller, terminal = os.openpty()
    logged(terminal, **changes)
    os.close(terminal)
    return os.read(controller, 4096).decode().strip()


def test_terminal_gets_coloured_text() -> None:
    assert "\x1b[" in logged_on_a_terminal(NO_COLOR="")
    text = logged_on_a_terminal(NO_COLOR="1")
    pattern = r"\d\d:\d\d:\d\dZ \[info     ] 200 GET /products 1.2 ms +request_id=rid peer=127.0.0.1 trace_id=tid"
    assert re.fullmatch(pattern, text)


def test_log_format_is_independent_of_the_terminal(tmp_path: Path) -> None:
    assert json.loads(logged_on_a_terminal(LOG_FORMAT="json"))["status"] == 200
    with (tmp_path / "log").open("wb") as file:
        logged(file.fileno(), LOG_FORMAT="pretty")
        logged(file.fileno())
    text, line = (tmp_path / "log").read_text().splitlines()
    assert "GET /products" in text
    assert json.loads(line)["status"] == 200


def test_request_lines_escape_unsafe_characters(database_environment: dict[str, str]) -> None:
    """Django answers the first request, the edge the second."""
    path = "/products" + "".join(UNSAFE)
    target = "/products" + "".join(f"%{byte:02x}" for byte in "".join(UNSAFE).encode())
    forget_keys()
    with running(database_environment, WEB_CONCURRENCY="1", RATE_LIMIT_ANONYMOUS="1/3600") as server:
        assert [server.request(target, User_Agent="\x9b").status for _ in range(2)] == [404, 429]
        wait_until(lambda: len(server.log_lines("request")) == 2)
        assert [line["path"] for line in server.log_lines("request")] == [path, path]
        assert_safe(server.log.read_text().replace("\n", ""))


# Queries


@pytest.mark.parametrize(
    ("query", "logged"),
    [
        ("", ""),
        (
            "limit=3&q=ripe+mango&category=fruits&category=spices",
            "limit=3&q=ripe+mango&category=fruits&category=spices",
        ),
        ("access_token=secret", "access_token=…"),
        ("%61ccess_token=secret", "%61ccess_token=…"),
        ("%6cimit=3", "%6cimit=3"),
        ("limit=3&token=secret&token=secret", "limit=3&token=…&token=…"),
        ("limit=3;token=secret", "limit=3;token=…"),
        ("limit=3?token=secret", "limit=3?token=…"),
        ("token=se=cret", "token=…"),
        ("token==secret", "token=…"),
        ("secret", "…"),
        ("c2VjcmV0cw==", "…"),
        ("limit", "limit"),
        ("&&limit=3&=secret&", "&&limit=3&=…&"),
        ("LIMIT=secret", "LIMIT=…"),
        ("pincode=560001", "pincode=…"),
    ],
)
def test_only_values_of_known_parameters_are_logged(query: str, logged: str) -> None:
    assert loggable(query, "/products") == logged


def test_other_routes_hide_all_values() -> None:
    assert loggable("q=secret&limit=3", "/admin/products/product/") == "q=…&limit=…"
    assert loggable("q=secret", None) == "q=…"
    assert loggable("pincode=560001&q=secret", "/products/{pk}/delivery-quote") == "pincode=560001&q=…"


def test_long_queries_are_cut() -> None:
    assert loggable("q=" + "a" * 20_000, "/products") == "q=" + "a" * (MAX_QUERY_LENGTH - 2) + "…"
    assert loggable("&" * (MAX_QUERY_LENGTH - 5) + "token=secret", "/products").endswith("&……")


def test_values_of_documented_parameters_are_logged(server: Server) -> None:
    checked = 0
    for route, operations in server.request("/openapi.json").json["paths"].items():
        described = [one for operation in operations.values() for one in operation.get("parameters", [])]
        for name in {one["name"] for one in described if one["in"] == "query"}:
            assert loggable(f"{name}=x", route.replace("{id}", "{pk}")) == f"{name}=x"
            checked += 1
    assert checked >= 15


def test_edge_and_django_hide_the_same_values(server: Server) -> None:
    logged_queries = {
        "/products?limit=3&access_token=secret": "limit=3&access_token=…",
        "/products?limit=4": "limit=4",
        "/nowhere?q=secret": "q=…",
        "/admin/login/?next=secret": "next=…",
        "/products/1/delivery-quote?pincode=560001&key=secret": "pincode=560001&key=…",
    }
    for number, (target, logged) in enumerate(logged_queries.items()):
        server.request(target, X_Request_ID=f"query-{number}")
        assert line_of(server, f"query-{number}")["query"] == logged
    for number in range(4):
        answer = server.request("/products?limit=4", X_Request_ID=f"hit-{number}")
        assert line_of(server, f"hit-{number}")["query"] == "limit=4"
    assert answer.headers["x-cache"] == "hit"
    assert "secret" not in server.log.read_text()


def test_credentials_are_never_logged_at_debug_level(server: Server) -> None:
    """In headers, queries and cookies, for every status."""
    basic = base64.b64encode(b"shop:" + SECRET.encode()).decode()
    headers = {
        "Cookie": f"sessionid={SECRET}; csrftoken={SECRET}",
        "Referer": f"http://localhost/?access_token={SECRET}",
        "X_Api_Key": SECRET,
    }
    targets = ["/products", "/products?limit=0", "/products/1", "/products/1/delivery-quote", "/nowhere", "/livez"]
    targets += ["/readyz", "/metrics", "/admin/", "/admin/login/", "/openapi.json", "/docs", "/static/none.css", "//"]
    for target in targets:
        joined = f"{target}{'&' if '?' in target else '?'}access_token={SECRET}"
        for authorization in (f"Bearer {SECRET}", f"Basic {basic}", SECRET):
            for method in ("GET", "POST"):
                server.request(joined, method, Authorization=authorization, **headers)
        server.request(joined, host="evil.example", **headers)
    wait_until(lambda: len(server.log_lines("request")) >= 7 * len(targets))
    log = server.log.read_text()
    assert SECRET not in log
    assert basic not in log
