"""Malformed requests to the admin get a 4xx, a form error or a redirect, never a 500."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import ApiClient, User
from dev.testing.offers import make_offer
from farmlokal.admin.model_admin import StaffAdmin
from farmlokal.jobs.models import Job
from integrations.models import WebhookEvent
from products.models import Commodity

pytestmark = pytest.mark.django_db

MODELS = list(admin.site._registry)
LONE_SURROGATE = "\udced\udca0\udc80"  # sent as the bytes ED A0 80
VALUES = ["", "abc", "9" * 30, "a\0b", LONE_SURROGATE, "0001-01-01", "x" * 5000]
LISTS = ["o", "p", "q", "all", "e", "_facets", "_popup", "_to_field", "_changelist_filters", "day", "unknown", "__"]
LOOKUPS = {"range": "abc", "regex": "(", "year": "0", "iso_year": "0", "gt": "9" * 30, "in": "a,b", "isnull": "abc"}
FORMS = ["_to_field", "_popup", "_changelist_filters", "_saveasnew", "_continue"]


class Requests:
    """Sends requests as a superuser and records those that get a 5xx."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.client = Client(raise_request_exception=False)
        self.client.force_login(User.objects.create_superuser("asha"))

    def get(self, path: str, **query: str) -> None:
        text = "&".join(f"{name}={quote(value, errors='surrogateescape')}" for name, value in query.items())
        self._record(f"GET {path}?{text}", self.client.get(f"{path}?{text}").status_code)

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        text = "&".join(
            f"{name}={quote(str(value), errors='surrogateescape')}"
            for name, values in body.items()
            for value in (values if isinstance(values, list) else [values])
        )
        response = self.client.post(path, text, content_type="application/x-www-form-urlencoded")
        self._record(f"POST {path} {text}", response.status_code)

    def _record(self, request: str, status: int) -> None:
        if status >= 500:
            self.failed.append(request[:200])


@pytest.fixture
def requests(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Requests]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    for options in admin.site._registry.values():
        monkeypatch.setattr(options, "list_per_page", 2)  # rows take most of the time
    make_offer()
    Group.objects.create(name="pickers")
    ApiClient.objects.create(client_id="c", name="Mandi Mart")
    WebhookEvent.objects.create(webhook_id="w", type="t", payload=b"{}")
    Job.objects.create(action="product.stock", parameters={"stock": "3"}, by="asha")
    requests = Requests()
    yield requests
    assert requests.failed == []


def path_of(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def form_of(requests: Requests, path: str) -> dict[str, Any]:
    """The fields that a browser would send to save the page unchanged."""
    response = requests.client.get(path)
    if response.status_code != 200 or "adminform" not in response.context:
        return {}
    values = {bound.html_name: bound.value() for bound in response.context["adminform"].form}
    return {name: value for name, value in values.items() if value is not None}


def test_every_model_admin_has_the_base_class() -> None:
    assert [model for model, options in admin.site._registry.items() if not isinstance(options, StaffAdmin)] == []


@pytest.mark.parametrize("model", MODELS)
def test_list_accepts_any_parameter(requests: Requests, model: type[Model]) -> None:
    names = [item for item in admin.site._registry[model].list_filter if isinstance(item, str)]
    filters = [f"{name}__{lookup}" for name in names for lookup in ("exact", "id__exact", "isnull")]
    for name, value in itertools.product([*LISTS, *filters], VALUES):
        requests.get(path_of(model), **{name: value})


@pytest.mark.parametrize("model", MODELS)
def test_list_accepts_any_lookup(requests: Requests, model: type[Model]) -> None:
    for field, (lookup, value) in itertools.product(model._meta.get_fields(), LOOKUPS.items()):
        requests.get(path_of(model), **{f"{field.name}__{lookup}": value})


@pytest.mark.parametrize("model", MODELS)
def test_action_accepts_any_values(requests: Requests, model: type[Model]) -> None:
    row = model._default_manager.latest("pk")
    actions = ["", "abc", "delete_selected", *(admin.site._registry[model].actions or ())]
    for action, value in itertools.product(actions, VALUES):
        body: dict[str, Any] = {"action": action, "_selected_action": [str(row.pk), value]}
        requests.post(path_of(model), body | {"index": "0", "select_across": "0"})
        requests.post(path_of(model), body | {"index": value, "select_across": value})
        requests.post(path_of(model), body | {"post": "yes"})


@pytest.mark.parametrize("model", MODELS)
def test_forms_accept_any_values(requests: Requests, model: type[Model]) -> None:
    change = f"{path_of(model)}{model._default_manager.latest('pk').pk}/change/"
    valid = form_of(requests, change)
    names = [*valid, *FORMS]
    for value in VALUES:
        requests.get(f"{path_of(model)}add/", **dict.fromkeys(names, value))
        requests.post(f"{path_of(model)}add/", dict.fromkeys(names, value))
    for name, value in itertools.product(names, VALUES):  # one at a time: others would keep it from being saved
        requests.post(change, valid | {name: value})
    for path, value in itertools.product([change, change.replace("change", "delete")], VALUES):
        requests.get(path, _to_field=value, _popup=value)


@pytest.mark.parametrize("model", MODELS)
def test_pages_accept_any_id(requests: Requests, model: type[Model]) -> None:
    ids = [value for value in VALUES if len(value) < 100] + ["_5F", "_2F", "1_", "'\"--"]
    for text, page in itertools.product(ids, ["", "/", "/change/", "/delete/", "/history/", "/password/"]):
        requests.get(f"{path_of(model)}{quote(text, safe='', errors='surrogateescape')}{page}")
        requests.post(f"{path_of(model)}{quote(text, safe='', errors='surrogateescape')}{page}", {"post": "yes"})


@pytest.mark.parametrize(
    ("path", "has_results"),
    [
        ("products/commodity/?category__id__exact={category}", True),
        ("products/commodity/?category__id__exact=0", False),
        ("accounts/user/?groups__id__exact={group}", False),
        ("accounts/user/?is_staff__exact=1", True),
    ],
)
def test_list_filters_work(requests: Requests, path: str, has_results: bool) -> None:
    keys = {"category": Commodity.objects.get(slug="mango").category_id, "group": Group.objects.get(name="pickers").pk}
    page = requests.client.get(f"/admin/{path.format(**keys)}")
    assert bool(page.context["cl"].result_count) is has_results


def test_add_form_takes_initial_key_from_query(requests: Requests) -> None:
    mango = Commodity.objects.get(slug="mango")
    page = requests.client.get(f"/admin/products/product/add/?commodity={mango.pk}").content.decode()
    assert f'<option value="{mango.pk}" selected>Mango</option>' in page


def test_autocomplete_accepts_any_values(requests: Requests) -> None:
    valid = {"app_label": "products", "model_name": "product", "field_name": "farm", "term": "a", "page": "1"}
    for name, value in itertools.product(valid, [*VALUES, "products", "words", "id", "farm"]):
        requests.get("/admin/autocomplete/", **valid | {name: value})


def test_site_pages_accept_any_values(requests: Requests) -> None:
    for value in VALUES:
        text = quote(value[:1000], safe="", errors="surrogateescape")
        for path in (f"/admin/{text}", f"/admin/{text}/", f"/admin/products/{text}/", f"/admin/r/1/{text}/"):
            requests.get(path)
        passwords = dict.fromkeys(["old_password", "new_password1", "new_password2", "next"], value)
        requests.post("/admin/password_change/", passwords)
        requests.get("/admin/jsi18n/", language=value)
    requests.client.logout()
    for value in VALUES:
        requests.get("/admin/login/", next=value)
        requests.post("/admin/login/", {"username": value, "password": value[:1], "next": value})
