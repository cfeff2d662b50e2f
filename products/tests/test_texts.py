"""The admin and the API accept the same texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from dev.testing.offers import make_farm
from dev.testing.staff import product_body
from products.models import Category, Commodity, District, Product, State, VocabularyEntry

pytestmark = pytest.mark.django_db

CONTROLS = ["\0", "\x1b[31m", "\x7f", "\x85", "\x9b31m", "\u202a", "\u202e", "\u2066", "\u2069"]
LINE_BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\t", "\u2028", "\u2029"]
NAMES_WITHOUT_A_WORD = ["!!!", "__", "🥭", "- -", "\u037a"]  # the last is a letter, but its slug is empty
JOINED_EMOJI = "👩\u200d🌾"
HINDI = "क\u094d\u200dष"  # the joiner is part of the spelling
ARABIC = "تمر \u200f(A)"  # with a direction mark

REFUSED = [
    *[("name", f"Man{text}go") for text in [*CONTROLS, *LINE_BREAKS]],
    *[("name", name) for name in NAMES_WITHOUT_A_WORD],
    *[("variety", f"Al{text}phonso") for text in [*CONTROLS, *LINE_BREAKS]],
    *[("description", f"Ripe{text}.") for text in [*CONTROLS, "\v", "\f"]],
    ("description", "x" * 10_001),
]
ACCEPTED = [
    *[("name", f"Mango {text}") for text in [JOINED_EMOJI, HINDI, ARABIC, "™", "²"]],
    ("variety", "!!!"),
    ("description", "Ripe.\r\n\tSweet.\n"),
    ("description", "x" * 10_000),
]


def post_to_api(client: Client, **fields: Any) -> Any:
    return client.post("/products", json.dumps(product_body(**fields)), content_type="application/json")


def post_to_admin(client: Client, **fields: Any) -> Any:
    mango = Commodity.objects.get(slug="mango").pk
    form = {"name": "Mango", "commodity": mango, "grade": "A", "price": "120.50", "unit": "kg", "stock": 1}
    return client.post("/admin/products/product/add/", form | {"farm": make_farm().pk} | fields)


@pytest.mark.parametrize(("field", "text"), REFUSED)
def test_invalid_text_is_refused_by_api_and_admin(admin_client: Client, field: str, text: str) -> None:
    refused = post_to_api(admin_client, **{field: text})
    assert refused.status_code == 400
    assert [error["pointer"] for error in refused.json()["errors"]] == [f"/{field}"]
    page = post_to_admin(admin_client, **{field: text})
    assert list(page.context["adminform"].form.errors) == [field]
    assert not Product.objects.exists()


@pytest.mark.parametrize(("field", "text"), ACCEPTED)
def test_valid_text_is_accepted_by_api_and_admin(admin_client: Client, field: str, text: str) -> None:
    answer = post_to_api(admin_client, **{field: text})
    assert answer.status_code == 201, answer.content
    page = post_to_admin(admin_client, **{field: text})
    assert page.status_code == 302, page.context["adminform"].form.errors
    assert Product.objects.count() == 2


@pytest.mark.parametrize("text", ["\n", "Mango\n", "\x1cMango"])
def test_api_refuses_control_characters_at_the_ends_of_a_line(admin_client: Client, text: str) -> None:
    assert post_to_api(admin_client, name=text).status_code == 400
    assert post_to_api(admin_client, variety=text).status_code == 400


@pytest.mark.parametrize("text", [*CONTROLS, "\n"])
@pytest.mark.parametrize("model", ["category", "commodity", "state", "district", "farm"])
def test_names_of_other_models_are_one_line(admin_client: Client, model: str, text: str) -> None:
    page = admin_client.post(f"/admin/products/{model}/add/", {"name": f"Man{text}go"})
    assert "name" in page.context["adminform"].form.errors


@pytest.mark.parametrize("model", [Category, Commodity, State, District])
def test_migrated_names_are_valid(model: type[VocabularyEntry]) -> None:
    for row in model._default_manager.all():
        row.clean_fields()
