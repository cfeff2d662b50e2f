"""Price and stock edited in the product list of the admin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dev.testing.offers import make_offers
from dev.testing.staff import make_staff
from products import services
from products.models import Posting, Product

pytestmark = pytest.mark.django_db

URL = "/admin/products/product/"


@pytest.fixture
def products() -> list[Product]:
    return make_offers({"name": f"Mango {n}", "price": Decimal(100 + n), "stock": n} for n in range(3))


def shown_form(client: Client, query: str = "") -> dict[str, Any]:
    """What a browser sends if the user changes nothing."""
    response = client.get(f"{URL}?{query}")
    formset = response.context["cl"].formset
    form = {f"form-{bound.name}": bound.value() for bound in formset.management_form}
    for row in formset.forms:
        for bound in row:
            form[bound.html_name] = bound.value()
            if bound.field.show_hidden_initial:
                form[bound.html_initial_name] = bound.value()
    page = response.content.decode()
    assert all(f'name="{name}"' in page for name in form)
    return {**form, "_save": "Save", "action": "", "index": ""}


def row_of(form: dict[str, Any], product: Product) -> str:
    """The prefix of the product's fields."""
    return next(
        name.removesuffix("-id") for name, value in form.items() if name.endswith("-id") and value == product.pk
    )


def test_changed_rows_are_saved_and_the_url_is_shown_again(admin_client: Client, products: list[Product]) -> None:
    first, second, third = products
    query = "sort=price&limit=2"
    form = shown_form(admin_client, query)
    form[f"{row_of(form, first)}-price"] = "47.50"
    form[f"{row_of(form, second)}-stock"] = "0"
    response = admin_client.post(f"{URL}?{query}", form)
    assert (response.status_code, response["Location"]) == (302, f"{URL}?{query}")
    rows = Product.objects.order_by("pk").values_list("price", "stock", "version")
    assert list(rows) == [(Decimal("47.50"), 0, 2), (101, 0, 2), (102, 2, 1)]
    assert set(Posting.objects.filter(product_id=first.pk).values_list("price", flat=True)) == {Decimal("47.50")}
    assert "2 products were changed." in admin_client.get(URL).content.decode()
    assert admin_client.get(f"/products/{first.pk}").json()["price"] == "47.50"
    assert third.version == 1


def test_unchanged_rows_get_no_new_version(admin_client: Client, products: list[Product]) -> None:
    before = list(Product.objects.values())
    form = shown_form(admin_client)
    form[f"{row_of(form, products[0])}-price"] = "100.0"  # equal, spelled otherwise
    assert admin_client.post(URL, form).status_code == 302
    assert list(Product.objects.values()) == before


def test_row_changed_by_others_is_refused_alone(admin_client: Client, products: list[Product]) -> None:
    first, second, third = products
    form = shown_form(admin_client)
    services.change(first.pk, price=Decimal("88.00"), stock=7)
    services.change(third.pk, stock=70)
    form[f"{row_of(form, first)}-price"] = "47.50"
    form[f"{row_of(form, second)}-price"] = "51.00"
    response = admin_client.post(URL, form)
    page = response.content.decode()
    assert response.status_code == 200
    assert "the price is now 88.00, the stock 7" in page
    assert 'value="47.50"' in page  # as typed
    assert "1 product was changed." in page
    assert list(Product.objects.order_by("pk").values_list("price", flat=True)) == [88, 51, 102]
    assert [row.name for row in response.context["cl"].result_list] == ["Mango 2", "Mango 1", "Mango 0"]


def test_refused_row_can_be_saved_again_without_losing_others_changes(
    admin_client: Client, products: list[Product]
) -> None:
    first = products[0]
    form = shown_form(admin_client)
    services.change(first.pk, price=Decimal("88.00"), stock=7)
    form[f"{row_of(form, first)}-price"] = "47.50"
    refused = admin_client.post(URL, form).context["cl"].formset
    shown = {f"form-{bound.name}": bound.value() for bound in refused.management_form}
    for row in refused.forms:
        for bound in row:
            shown[bound.html_name] = bound.value()
            if bound.field.show_hidden_initial:
                shown[bound.html_initial_name] = row.data.get(bound.html_initial_name, bound.value())
    assert admin_client.post(URL, shown | {"_save": "Save"}).status_code == 302
    first.refresh_from_db()
    assert (first.price, first.stock, first.version) == (Decimal("47.50"), 7, 3)


def test_others_change_of_an_untouched_row_is_kept(admin_client: Client, products: list[Product]) -> None:
    form = shown_form(admin_client)
    services.change(products[0].pk, price=Decimal("88.00"))
    form[f"{row_of(form, products[1])}-stock"] = "9"
    assert admin_client.post(URL, form).status_code == 302
    assert list(Product.objects.order_by("pk").values_list("price", "stock")) == [(88, 0), (101, 9), (102, 2)]


@pytest.mark.parametrize(
    ("field", "value"), [("price", "0"), ("price", "cheap"), ("price", ""), ("stock", "-1"), ("stock", "9" * 12)]
)
def test_bad_value_is_refused_alone_and_stays(
    admin_client: Client, products: list[Product], field: str, value: str
) -> None:
    form = shown_form(admin_client)
    form[f"{row_of(form, products[0])}-{field}"] = value
    form[f"{row_of(form, products[1])}-price"] = "51.00"
    response = admin_client.post(URL, form)
    refused = response.context["cl"].formset.forms[2]
    assert list(refused.errors) == [field]
    assert refused[field].value() == value
    assert list(Product.objects.order_by("pk").values_list("price", "stock")) == [(100, 0), (51, 1), (102, 2)]


def test_withdrawn_products_can_be_edited(admin_client: Client, products: list[Product]) -> None:
    services.withdraw(products[0].pk)
    form = shown_form(admin_client, "withdrawn=true")
    form[f"{row_of(form, products[0])}-stock"] = "5"
    assert admin_client.post(f"{URL}?withdrawn=true", form).status_code == 302
    assert Product.objects.get(pk=products[0].pk).stock == 5
    assert not Posting.objects.filter(product_id=products[0].pk).exists()


def test_view_permission_shows_no_fields_and_saves_nothing(client: Client, products: list[Product]) -> None:
    editor = Client()
    editor.force_login(make_staff("view_product", "change_product", name="editor"))
    form = shown_form(editor)
    form[f"{row_of(form, products[0])}-price"] = "1.00"
    client.force_login(make_staff("view_product"))
    assert "form-0-price" not in client.get(URL).content.decode()
    assert client.post(URL, form).status_code == 403
    assert Product.objects.get(pk=products[0].pk).price == 100


@pytest.mark.parametrize(
    "tampered",
    [
        {"form-0-id": "abc"},
        {"form-0-id": ""},
        {"form-0-id": "9" * 30},
        {"form-TOTAL_FORMS": "x"},
        {"form-TOTAL_FORMS": "50"},
        {"form-INITIAL_FORMS": "0"},
        {"form-0-shown_version": ""},
        {"form-0-shown_version": "x"},
    ],
)
def test_tampered_rows_are_refused(admin_client: Client, products: list[Product], tampered: dict[str, str]) -> None:
    form = shown_form(admin_client) | {"form-0-price": "1.00"} | tampered
    assert admin_client.post(URL, form).status_code in {200, 400}
    assert not Product.objects.filter(version__gt=1).exists()


def test_saving_a_row_takes_few_statements(admin_client: Client) -> None:
    products = make_offers({"name": f"Mango {n}"} for n in range(100))
    form = shown_form(admin_client)

    def statements(rows: int, price: str) -> int:
        form = shown_form(admin_client)
        for product in products[:rows]:
            form[f"{row_of(form, product)}-price"] = price
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.post(URL, form).status_code == 302
        return len(queries)

    assert len(form) < 800
    assert (statements(11, "12.00") - statements(1, "13.00")) / 10 <= 8
