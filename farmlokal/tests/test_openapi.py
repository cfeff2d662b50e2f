"""The OpenAPI document agrees with the running service: schemathesis sends valid and invalid requests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.validation import validate_schema

from accounts.models import User
from dev.testing.partner import partner, settings_for
from dev.testing.servers import Server, running
from dev.testing.staff import CSRF_TOKEN, make_staff, session_headers
from farmlokal.http.problems import PROBLEM_TYPES
from farmlokal.http.security_headers import EMPTY_STYLE, SCROLL_BARS
from farmlokal.openapi.views import document
from products.models import IdempotencyKey

pytestmark = pytest.mark.usefixtures("live_database")

PROJECT = Path(__file__).parents[2]
SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
HASHES = [EMPTY_STYLE, SCROLL_BARS]
VIEWERS = ["/docs", "/redoc"]
PAGES = ["/", "/favicon.ico", *VIEWERS]

# The seed is fixed, so failures repeat. 412 and 422 depend on the resource and the key, not on the request's form.
CONFIGURATION = """
hooks = "dev.testing.schemathesis_hooks"
seed = 20261123
continue-on-failure = true
suppress-health-check = ["too_slow"]

[generation]
mode = "all"
database = "none"

[[operations]]
include-method = ["PATCH", "DELETE"]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 412]

[[operations]]
include-method = "GET"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 304, 401, 403, 404, 412, "5xx"]

[[operations]]
include-method = "POST"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 409, 422]
"""
SESSION = """
[auth.openapi]
cookieAuth = {{ api_key = "{session}" }}
csrfCookie = {{ api_key = "{token}" }}
csrfToken = {{ api_key = "{token}" }}
"""


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    call_command("seed_products", 2000, "--reset")
    with (
        partner() as sandbox,
        running(database_environment, **settings_for(sandbox), PARTNER_DEADLINE_SECONDS="20") as server,
    ):
        yield server
    IdempotencyKey.objects.all().delete()


@pytest.fixture
def staff_session() -> Iterator[str]:
    user = make_staff(name="schemathesis")
    cookies = dict(cookie.split("=") for cookie in session_headers(user)["Cookie"].split("; "))
    yield SESSION.format(session=cookies["sessionid"], token=CSRF_TOKEN)
    User.objects.filter(pk=user.pk).delete()


@pytest.fixture(scope="module")
def openapi(server: Server) -> Any:
    return server.request("/openapi.json").json


def schemathesis(server: Server, folder: Path, configuration: str, *options: str) -> None:
    (folder / "schemathesis.toml").write_text(configuration)
    (folder / "openapi.json").write_bytes(server.request("/openapi.json").body)
    command = [SCHEMATHESIS, "--config-file", "schemathesis.toml", "run", "openapi.json", "--no-color"]
    command += ["--url", f"http://localhost:{server.port}", "--checks", "all", *options]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    responses = server.log_lines("request")
    assert "13 selected / 13 total" in run.stdout
    assert not [response for response in responses if response["status"] >= 500]
    assert {200, 400, 401, 404, 405} <= {response["status"] for response in responses}


def test_service_conforms_to_document_with_a_session(server: Server, tmp_path: Path, staff_session: str) -> None:
    schemathesis(server, tmp_path, CONFIGURATION + staff_session, "--max-examples", "50")
    assert {201, 204, 412, 415, 422} <= {response["status"] for response in server.log_lines("request")}


def test_service_conforms_to_document_without_a_session(server: Server, tmp_path: Path) -> None:
    # Without the phase "stateful", which uses resources that earlier requests created: here there are none.
    schemathesis(server, tmp_path, CONFIGURATION, "--phases", "examples,coverage,fuzzing", "--max-examples", "10")


def test_document_is_valid_openapi_3_1(openapi: Any) -> None:
    validate_schema(openapi)  # type: ignore[no-untyped-call]
    assert openapi["openapi"] == "3.1.0"
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert openapi["info"]["version"] == project["version"]


def test_document_supports_etags_and_compression(server: Server) -> None:
    first = server.request("/openapi.json")
    assert first.headers["content-type"] == "application/json"
    assert first.body == document().identity
    assert server.request("/openapi.json", If_None_Match=first.headers["etag"]).status == 304
    assert server.request("/openapi.json", Accept_Encoding="gzip").headers["content-encoding"] == "gzip"


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> Iterator[str]:
    """Without those of the admin."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern).replace("<int:pk>", "{id}")
        if path.startswith("/admin"):
            continue
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield path


def test_document_has_every_route(openapi: Any) -> None:
    assert set(routes(get_resolver().url_patterns)) - {*PAGES} == openapi["paths"].keys()


def operations(openapi: Any) -> Iterator[tuple[str, Any]]:
    for path, item in openapi["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def examples(openapi: Any) -> Iterator[tuple[str, Any, list[Any]]]:
    """(place, schema, examples) of each parameter, header and body in the document."""
    for name, operation in operations(openapi):
        parameters = [(parameter["name"], parameter) for parameter in operation.get("parameters", [])]
        body = operation.get("requestBody", {}).get("content", {})
        described = [*parameters, *body.items()]
        for status, response in operation["responses"].items():
            for kind, place in [*response.get("headers", {}).items(), *response.get("content", {}).items()]:
                described.append((f"{status} {kind}", place))
        for where, place in described:
            values = [example["value"] for example in place.get("examples", {}).values()]
            values += place["schema"].get("examples", [])
            yield f"{name} {where}", place["schema"], values


def test_every_schema_has_valid_examples(openapi: Any) -> None:
    for where, schema, values in examples(openapi):
        described = {**schema, "components": openapi["components"]}
        validator = jsonschema_rs.Draft202012Validator(described, validate_formats=True)
        assert values, where
        for value in values:
            assert not list(validator.iter_errors(value)), (where, value)


def problems(openapi: Any) -> Iterator[tuple[int, Any]]:
    for _, operation in operations(openapi):
        for status, response in operation["responses"].items():
            for example in response.get("content", {}).get("application/problem+json", {}).get("examples", {}).values():
                yield int(status), example["value"]


def test_problem_examples_cover_every_code(openapi: Any) -> None:
    documented = list(problems(openapi))
    for status, problem in documented:
        problem_type = PROBLEM_TYPES[problem["code"]]
        assert (
            (problem["status"], problem["title"])
            == (status, problem_type.title)
            == (
                problem_type.status,
                problem_type.title,
            )
        )
    # No documented operation responds with a 405.
    assert {problem["code"] for _, problem in documented} == PROBLEM_TYPES.keys() - {"method-not-allowed"}


def is_valid(openapi: Any, schema: Any, value: Any) -> bool:
    described = {**schema, "components": openapi["components"]}
    return bool(jsonschema_rs.Draft202012Validator(described).is_valid(value))


def test_problem_schema_allows_only_its_own_status_title_and_code(openapi: Any) -> None:
    for name, operation in operations(openapi):
        for response in operation["responses"].values():
            described = response.get("content", {}).get("application/problem+json", {"schema": {}, "examples": {}})
            for example in described["examples"].values():
                problem = example["value"]
                assert is_valid(openapi, described["schema"], problem), name
                code = "not-found" if problem["code"] != "not-found" else "rate-limited"
                for other in (
                    {"status": PROBLEM_TYPES[code].status},
                    {"title": PROBLEM_TYPES[code].title},
                    {"code": code},
                ):
                    assert not is_valid(openapi, described["schema"], problem | other), name


def test_problem_error_names_exactly_one_place(openapi: Any) -> None:
    schema = {"$ref": "#/components/schemas/ProblemError"}
    assert is_valid(openapi, schema, {"detail": "x", "header": "y"})
    assert not is_valid(openapi, schema, {"detail": "x"})
    assert not is_valid(openapi, schema, {"detail": "x", "header": "y", "pointer": "z"})


def test_name_needs_a_letter_or_a_digit_of_any_script(openapi: Any) -> None:
    schema = openapi["components"]["schemas"]["NewProduct"]["properties"]["name"]
    assert all(is_valid(openapi, schema, name) for name in ("a", "!1", "आम"))
    assert not any(is_valid(openapi, schema, name) for name in ("", "!!!", "🥭", "a\0"))


def test_parameters_have_no_default(openapi: Any) -> None:
    """Generated clients would send it."""
    described = [parameter for _, operation in operations(openapi) for parameter in operation.get("parameters", [])]
    assert not [parameter["name"] for parameter in described if "default" in parameter["schema"]]


class Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls |= {value or "" for name, value in attrs if name in {"src", "href", "data-document"}}


@pytest.mark.parametrize("path", VIEWERS)
def test_viewer_loads_only_from_this_host(server: Server, path: str) -> None:
    page = server.request(path)
    assert page.status == 200
    assert page.headers["x-frame-options"] == "DENY"
    urls = Links(page.body.decode()).urls
    assert len(urls) >= 4
    for url in urls:
        assert re.match("/[^/]", url), url
        assert server.request(url).status == 200, url
    assert b"://" not in page.body
    # The viewers know other hosts; the policy blocks requests to them.
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {source for sources in policy.values() for source in sources.split()} <= {
        *("'none'", "'self'", "data:", "blob:", *HASHES)
    }


@pytest.mark.parametrize("path", [*VIEWERS, "/openapi.json"])
def test_viewers_and_document_allow_only_get_and_head(server: Server, path: str) -> None:
    assert server.request(path, "HEAD").status == 200
    post = server.request(path, "POST")
    assert post.status == 405
    assert "GET" in post.headers["allow"]
    assert server.request(f"{path}/").status == 404
