"""Who may do what in the admin: role x page x action, each cell checked by URL.

A page or an action that the tables do not name fails a test. So each new one needs a line that says who may use it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver, resolve
from pytest_django.fixtures import Settings

from accounts.models import ApiClient, User
from dev.testing.deliveries import event
from dev.testing.files import start_check, start_export, upload_rows
from dev.testing.offers import make_offer
from farmlokal.jobs.models import Job
from integrations.models import WebhookEvent
from integrations.sandbox.sender import PRICE
from products.jobs import BULK_ACTIONS
from products.models import Category, Commodity, District, Farm, Product, State

pytestmark = pytest.mark.django_db

ROLES = {
    "N": "no role",
    "E": "Catalogue editor",
    "V": "Catalogue viewer",
    "W": "Webhook operator",
    "A": "Auditor",
    "O": "Operator",
    "P": "every permission, but no superuser",
    "S": "superuser",
}
ALL = "NEVWAOPS"
NOBODY = ""


class Pages(NamedTuple):
    """The pages of a model: its letters of ROLES may use them. actions: of the list."""

    view: str
    add: str
    change: str
    delete: str = NOBODY
    actions: dict[str, str] = {}  # noqa: RUF012  # never changed


CATALOGUE = Pages(view="EVWAOPS", add="EPS", change="EPS")
MODELS = {
    Product: CATALOGUE._replace(actions={**{action.verb: "EPS" for action in BULK_ACTIONS}, "export": "EVWAOPS"}),
    Farm: CATALOGUE,
    Category: CATALOGUE,
    Commodity: CATALOGUE,
    State: CATALOGUE,
    District: CATALOGUE,
    WebhookEvent: Pages(view="WAOPS", add=NOBODY, change=NOBODY, actions={"replay": "WPS"}),
    Job: Pages(view="EVWAOPS", add=NOBODY, change=NOBODY),
    ApiClient: Pages(view="AOPS", add="PS", change="OPS"),
    User: Pages(view="APS", add="S", change="S", delete="S", actions={"delete_selected": "S"}),
    Group: Pages(view="APS", add="S", change="S", delete="S", actions={"delete_selected": "S"}),
}


class Row(NamedTuple):
    path: str  # below /admin/; {pk} is the example's key
    action: str  # GET, POST, or a list's action, which is sent by POST
    allowed: str


OTHER_PAGES = [
    Row("", "GET", ALL),
    Row("login/", "GET", ALL),
    Row("logout/", "GET", NOBODY),
    Row("logout/", "POST", ALL),
    Row("password_change/", "GET", ALL),
    Row("password_change/", "POST", ALL),
    Row("password_change/done/", "GET", ALL),
    Row("jsi18n/", "GET", ALL),
    Row("autocomplete/?app_label=products&model_name=product&field_name=farm", "GET", "EVWAOPS"),
    Row("r/1/1/", "GET", NOBODY),
    Row("nothing-here", "GET", NOBODY),
    Row("products/", "GET", "EVWAOPS"),
    Row("farmlokal/", "GET", "EVWAOPS"),
    Row("integrations/", "GET", "WAOPS"),
    Row("accounts/", "GET", "AOPS"),
    Row("auth/", "GET", "APS"),
    Row("operations/", "GET", "AOPS"),
    Row("operations/data", "GET", "AOPS"),
    Row("operations/breakers/partner/reset", "GET", "OPS"),  # its POST changes Redis: see test_operations.py
]
PUBLIC = {"login/"}
PASSWORD = Row("accounts/user/{pk}/password/", "GET", "S")
BULK_PAGE = Row("products/product/bulk/?action=stock", "GET", "EPS")  # actions of the list lead there
STOPPED_JOB = 1
JOB_PAGES = [  # of jobs that change products
    Row("farmlokal/job/{pk}/progress/", "GET", "EVWAOPS"),
    Row("farmlokal/job/{pk}/advance/", "POST", "EPS"),
    Row("farmlokal/job/{pk}/stop/", "POST", "EPS"),
    Row(f"farmlokal/job/{STOPPED_JOB}/resume/", "POST", "EPS"),
]
CHECK_JOB, EXPORT_JOB = 2, 3  # finished
FILE_PAGES = [
    Row("products/product/import/", "GET", "EPS"),
    Row("products/product/import/", "POST", "EPS"),
    Row("products/product/import/pieces/", "GET", NOBODY),
    Row("products/product/import/pieces/", "POST", "EPS"),
    Row(f"products/product/import/{CHECK_JOB}/start/", "GET", NOBODY),
    Row(f"products/product/import/{CHECK_JOB}/start/", "POST", "EPS"),
    Row("products/product/export/", "GET", "EVWAOPS"),
    Row("products/product/export/", "POST", "EVWAOPS"),
    Row(f"products/product/export/{EXPORT_JOB}/csv/", "GET", "EVWAOPS"),
]
NEW_PASSWORD = "tall-mango-tree-9"


class Upload(SimpleUploadedFile):
    """A file that each request reads from its start."""

    def read(self, *_: Any) -> bytes:
        self.seek(0)
        content: bytes = super().read()
        return content


FORMS: dict[str, dict[str, Any]] = {  # what POST sends there; other forms are those of the page, with CHANGES
    "password_change/": {"old_password": "old", "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD},
    PASSWORD.path: {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"},
    "accounts/user/add/": {
        "username": "new",
        "usable_password": "true",
        "password1": NEW_PASSWORD,
        "password2": NEW_PASSWORD,
    },
    BULK_PAGE.path: {"stock": "77"},
    "accounts/apiclient/add/": {"name": "New", "client_id": "new"},
    "auth/group/add/": {"name": "New"},
    "products/product/import/": {"file": Upload("prices.csv", b"id,price\n7,5\n")},
    "products/product/add/": {"name": "New", "grade": "A", "price": "9", "unit": "kg", "stock": "1"},
    **{
        f"products/{model}/add/": {"name": "New", "slug": "new"}
        for model in ("farm", "category", "commodity", "state", "district")
    },
}
CHANGES = {Product: {"stock": "77"}, User: {"first_name": "Changed"}}
CHANGE = {"name": "Changed"}


def path_of(model: Any) -> str:
    return f"{model._meta.app_label}/{model._meta.model_name}/"


def rows_of(model: Any, pages: Pages) -> Iterator[Row]:
    path = path_of(model)
    yield Row(path, "GET", pages.view)
    for action in {"delete_selected": NOBODY, **pages.actions}:
        yield Row(path, action, pages.actions.get(action, NOBODY))
    for action, add, change in (("GET", pages.add, pages.view), ("POST", pages.add, pages.change)):
        yield Row(f"{path}add/", action, add)
        yield Row(f"{path}{{pk}}/change/", action, change)
        yield Row(f"{path}{{pk}}/delete/", action, pages.delete)
    yield Row(f"{path}{{pk}}/history/", "GET", pages.view)
    yield Row(f"{path}{{pk}}/", "GET", ALL)  # redirects to the form
    if model is Product:
        yield from FILE_PAGES
    if model is User:
        yield from (PASSWORD, PASSWORD._replace(action="POST"))
    if model is Product:
        yield from (BULK_PAGE, BULK_PAGE._replace(action="POST"))
    if model is Job:
        yield from JOB_PAGES
        yield from (row._replace(action="GET", allowed=NOBODY) for row in JOB_PAGES if row.action == "POST")


GROUPS: dict[str, tuple[Any, list[Row]]] = {
    "other": (Product, OTHER_PAGES),
    **{path_of(model): (model, list(rows_of(model, pages))) for model, pages in MODELS.items()},
}


class Checks:
    """Sends requests as each role and notes the cells that differ from the table."""

    def __init__(self) -> None:
        self.sessions = {letter: _session_of(letter) for letter in ROLES}
        self.product = make_offer()
        ApiClient.objects.create(client_id="c", name="Mandi Mart")
        payload = json.dumps(event(self.product.pk)).encode()
        WebhookEvent.objects.create(webhook_id="w", type=PRICE, payload=payload, status=WebhookEvent.Status.FAILED)
        job = {"action": "product.stock", "parameters": {"stock": "3"}, "by": "asha"}
        Job.objects.create(pk=STOPPED_JOB, status=Job.Status.STOPPED, **job)
        for pk, start in ((CHECK_JOB, start_check(upload_rows("id,price", [[1, 5]]))), (EXPORT_JOB, start_export())):
            Job.objects.filter(pk=start.pk).update(id=pk, status=Job.Status.FINISHED)
        Job.objects.create(**job)
        User.objects.create_user("target", password="old")
        Group.objects.create(name="pickers")
        self.checksum = _checksum()

    def client(self, letter: str) -> Client:
        client = Client()
        client.cookies["sessionid"] = self.sessions[letter]
        return client

    def send(self, client: Client, row: Row, model: Any) -> Any:
        key = model._default_manager.latest("pk").pk
        url = f"/admin/{row.path.format(pk=key)}"
        if row.action == "GET":
            return client.get(url)
        body = self._form(row, model, url) if row.action == "POST" else {}
        if row.action not in {"GET", "POST"}:
            body = {"action": row.action, "_selected_action": str(key), "index": "0", "post": "yes"}
        return client.post(url, body)

    def _form(self, row: Row, model: Any, url: str) -> dict[str, Any]:
        if row.path in FORMS:
            keys = {"commodity": self.product.commodity_id, "farm": self.product.farm_id}
            keys |= {"category": self.product.category_id, "district": self.product.district_id}
            return {**keys, "state": self.product.state_id, **FORMS[row.path]}
        page = self.client("S").get(url)
        form = page.context["adminform"].form if page.status_code == 200 and "adminform" in page.context else []
        values = {bound.html_name: bound.value() for bound in form}
        return {name: value for name, value in values.items() if value is not None} | CHANGES.get(model, CHANGE) | YES

    def is_allowed(self, letter: str, row: Row, model: Any) -> bool:
        """By the status; and a POST must change the database if, and only if, it is allowed."""
        with transaction.atomic():
            response = self.send(self.client(letter), row, model)
            has_changed = row.action != "GET" and _checksum() != self.checksum
            transaction.set_rollback(True)
        assert response.status_code < 500, (letter, row)
        is_refused = response.status_code in {403, 404, 405} or _leads_to_login(response)
        if row.action == "GET":
            return not is_refused
        assert not (has_changed and is_refused), (letter, row)
        assert has_changed or is_refused or row.action != "POST", (letter, row)
        return has_changed or "/bulk/" in response.get("Location", "")


YES = {"post": "yes"}  # confirms a deletion


def _session_of(letter: str) -> str:
    user = User.objects.create_user(f"user-{letter}", password="old", is_staff=True, is_superuser=letter == "S")
    user.groups.set(Group.objects.filter(name=ROLES[letter]))
    if letter == "P":
        user.user_permissions.set(Permission.objects.all())
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def _checksum() -> object:
    """Changes with any row, apart from the admin's own log."""
    models = apps.get_models(include_auto_created=True)
    tables = {model._meta.db_table for model in models if model._meta.managed} - {"django_admin_log"}
    with connection.cursor() as cursor:
        cursor.execute(f"CHECKSUM TABLE {', '.join(sorted(tables))}")
        return cursor.fetchall()


def _leads_to_login(response: Any) -> bool:
    return bool(response.status_code == 302 and response["Location"].startswith("/admin/login/"))


def routes(patterns: Any, prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


@pytest.fixture
def checks(settings: Settings) -> Checks:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    return Checks()


@pytest.mark.parametrize("group", GROUPS)
def test_each_role_may_do_what_the_table_says(checks: Checks, group: str) -> None:
    model, rows = GROUPS[group]
    wrong = []
    for row in rows:
        allowed = "".join(letter for letter in ROLES if checks.is_allowed(letter, row, model))
        if set(allowed) != set(row.allowed):
            wrong.append((row, f"in fact: {allowed}"))
    assert wrong == []


@pytest.mark.parametrize("group", GROUPS)
def test_each_page_asks_strangers_to_log_in(checks: Checks, group: str) -> None:
    model, rows = GROUPS[group]
    for row in rows:
        response = checks.send(Client(), row, model)
        is_asked = _leads_to_login(response) or row.path in PUBLIC
        assert is_asked or (row.path == "logout/" and response["Location"] == "/admin/"), row
        assert _checksum() == checks.checksum


def test_each_page_of_the_admin_is_in_a_table() -> None:
    rows = [row for _, rows in GROUPS.values() for row in rows]
    found: dict[str, set[str]] = {}
    for row in rows:
        path = row.path.format(pk=1).partition("?")[0]
        found.setdefault(resolve(f"/admin/{path}").route, set()).add(row.action)
    assert {route for route in routes(get_resolver().url_patterns) if route.startswith("admin/")} == set(found)
    assert [route for route, actions in found.items() if "GET" not in actions] == []


def test_each_action_of_a_list_is_in_the_table() -> None:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True, is_staff=True)
    actions = {model: set(options.get_actions(request)) for model, options in admin.site._registry.items()}
    assert actions == {model: set(pages.actions) for model, pages in MODELS.items()}


@pytest.mark.parametrize("field", ["is_superuser", "is_staff", "groups", "user_permissions"])
def test_nobody_but_a_superuser_can_raise_anyone(checks: Checks, field: str) -> None:
    """Neither themselves nor others, even with every permission."""
    values: dict[str, Callable[[], Any]] = {
        "groups": lambda: [group.pk for group in Group.objects.all()],
        "user_permissions": lambda: [permission.pk for permission in Permission.objects.all()],
    }
    body = {"username": "x", field: values.get(field, lambda: "on")()}
    for letter in ROLES.keys() - {"S"}:
        for user in User.objects.filter(username__in=["target", f"user-{letter}"]):
            response = checks.client(letter).post(f"/admin/accounts/user/{user.pk}/change/", body)
            assert response.status_code == 403
    assert _checksum() == checks.checksum


def test_reader_of_users_sees_nothing_of_passwords(checks: Checks) -> None:
    user = User.objects.get(username="target")
    page = checks.client("A").get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
    assert "target" in page
    assert user.password.split("$")[1][:4] not in page
    assert "password/" not in page
