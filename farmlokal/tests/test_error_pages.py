"""Staff get errors as HTML with a way on; everybody else gets the same problem documents as before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError
from django.test import Client

from dev.testing.servers import Server, running
from dev.testing.staff import make_staff
from farmlokal.admin.model_admin import StaffAdmin

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FARMS = "/admin/products/farm/"
MYSQL_IS_GONE = OperationalError(2006, "MySQL server has gone away")


@pytest.fixture
def staff(db: None) -> Client:
    client = Client(headers=HTML, raise_request_exception=False)
    client.force_login(make_staff("view_farm"))
    return client


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def has_view_or_change_permission(*_: Any) -> bool:
        raise error

    monkeypatch.setattr(StaffAdmin, "has_view_or_change_permission", has_view_or_change_permission)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (BadRequest("secret"), 400, "The request is not valid."),
        (PermissionDenied("secret"), 403, "A superuser can give you a role"),
        (ValueError("secret"), 500, "The failure has been logged"),
        (MYSQL_IS_GONE, 503, "Try again"),
    ],
)
def test_error_is_a_page_with_a_way_on(
    staff: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, text: str
) -> None:
    fail(monkeypatch, error)
    answer = staff.get(
        FARMS, headers={"X-Request-ID": "abc123", "Host": "testserver", "Referer": "http://testserver/admin/?a=1"}
    )
    page = answer.content.decode()
    assert (answer.status_code, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert text in page
    assert "abc123" in page
    assert 'href="/admin/?a=1">Back</a>' in page
    assert 'href="/admin/">Overview</a>' in page
    assert "secret" not in page
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Length"] == str(len(answer.content))
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert answer.get("Retry-After") == ("5" if status == 503 else None)


@pytest.mark.parametrize("path", ["/admin/nothing-here", "/admin/auth/", "/admin/r/1/1/"])
def test_unknown_page_is_404(staff: Client, path: str) -> None:
    answer = staff.get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.content.decode()


def test_wrong_method_is_405(staff: Client) -> None:
    answer = staff.get("/admin/logout/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST, OPTIONS")
    assert "Overview" in answer.content.decode()


def test_failed_save_says_that_it_may_have_succeeded(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, MYSQL_IS_GONE)
    page = staff.post(FARMS, {}).content.decode()
    assert "check whether your change was saved" in page
    assert "Try again</a>" not in page


@pytest.mark.parametrize("referer", ["https://evil.example/admin/", "http://testserver/products", "javascript:x", ""])
def test_page_links_back_to_the_admin_only(staff: Client, referer: str) -> None:
    assert (
        ">Back<"
        not in staff.get("/admin/nothing-here", headers={"Host": "testserver", "Referer": referer}).content.decode()
    )


@pytest.mark.parametrize(
    ("path", "accept"), [(FARMS, "*/*"), (FARMS, "application/json"), (FARMS, ""), ("/nowhere", HTML["Accept"])]
)
def test_others_get_the_problem_document(
    staff: Client, monkeypatch: pytest.MonkeyPatch, path: str, accept: str
) -> None:
    fail(monkeypatch, PermissionDenied())
    answer = staff.get(path, headers={"Accept": accept})
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_admin_without_slash_redirects(client: Client, method: str) -> None:
    answer = client.generic(method, "/admin")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


@pytest.fixture(scope="module")
def server(database_environment: dict[str, str]) -> Iterator[Server]:
    """A service whose MySQL does not answer."""
    url = "mysql://farmlokal:x@127.0.0.1:1/farmlokal"
    with running(database_environment, WEB_CONCURRENCY="1", DATABASE_URL=url) as server:
        yield server


@pytest.mark.parametrize(
    ("target", "method", "headers", "status", "text"),
    [
        ("/admin/", "GET", {"Cookie": f"sessionid={'s' * 32}"}, 503, "The database did not answer"),
        ("/admin/login/", "POST", {"Content-Length": "99000000"}, 413, "The body may have at most"),
        (f"/admin/?q={'x' * 20_000}", "GET", {}, 414, "The request line may have at most"),
        ("/admin/login/", "POST", {"Content-Length": "0"}, 403, "CSRF"),
    ],
)
def test_error_pages_need_no_database(
    server: Server, target: str, method: str, headers: dict[str, str], status: int, text: str
) -> None:
    answer = server.request(target, method, **headers, **HTML)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert text in answer.body.decode()
    assert answer.headers["x-request-id"] in answer.body.decode()
