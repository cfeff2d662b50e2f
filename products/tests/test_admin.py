"""The catalogue in the admin: permissions, forms, actions, and statements that stay cheap in a large catalogue."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.test import Client
from django.urls import reverse

from dev.testing.databases import rows_read
from dev.testing.offers import make_farm, make_offer, make_offers
from dev.testing.staff import make_staff
from farmlokal.admin.paginator import WINDOW_ROWS
from farmlokal.jobs.models import Job
from products.models import Commodity, Farm, Product

pytestmark = pytest.mark.django_db

LIST_URL = "/admin/products/product/"
FARMS_URL = "/admin/products/farm/"


def test_added_product_gets_its_derived_fields(admin_client: Client) -> None:
    farm, turmeric = make_farm(district="erode"), Commodity.objects.get(slug="turmeric")
    form = {"name": "Erode Turmeric", "commodity": turmeric.pk, "farm": farm.pk, "grade": "A", "price": "210.50"}
    response = admin_client.post(f"{LIST_URL}add/", {**form, "unit": "kg", "stock": 5, "is_active": "on"})
    assert response.status_code == 302, response.context["adminform"].form.errors
    product = Product.objects.get()
    assert (product.category.slug, product.district.slug, product.state.slug) == ("spices", "erode", "tamil-nadu")
    assert (product.slug, product.version) == ("erode-turmeric", 1)


def test_change_increments_version_and_updates_derived_fields(admin_client: Client) -> None:
    product = make_offer()
    onion = Commodity.objects.get(slug="onion")
    form = {"name": "Onion", "commodity": onion.pk, "farm": product.farm_id, "grade": "B", "price": "9", "unit": "kg"}
    response = admin_client.post(f"{LIST_URL}{product.pk}/change/", {**form, "stock": 0, "is_active": "on"})
    assert response.status_code == 302
    changed = Product.objects.get()
    assert (changed.category.slug, changed.slug, changed.version) == ("vegetables", "onion", 2)
    assert changed.updated_at > product.updated_at
    assert changed.created_at == product.created_at


@pytest.mark.parametrize("description", ["", "Ripe.\nSweet.", "Ripe.\r\nSweet."])
def test_unchanged_save_makes_no_new_version(admin_client: Client, description: str) -> None:
    product = make_offer(description=description, variety="Alphonso", price=Decimal("47.50"), organic=True)
    url = f"{LIST_URL}{product.pk}/change/"
    shown = {bound.name: bound.value() for bound in admin_client.get(url).context["adminform"].form}
    as_sent_by_browsers = shown | {"description": "\r\n".join(description.splitlines()), "is_active": "on"}
    before = Product.objects.values().get()
    assert admin_client.post(url, as_sent_by_browsers).status_code == 302
    assert Product.objects.values().get() == before
    assert admin_client.post(url, as_sent_by_browsers | {"description": "Sour."}).status_code == 302
    product.refresh_from_db()
    assert (product.version, product.description) == (2, "Sour.")


def test_view_permission_shows_a_read_only_product(client: Client) -> None:
    product = make_offer(name="Mango of Ratnagiri")
    client.force_login(make_staff("view_product"))
    page = client.get(f"{LIST_URL}{product.pk}/change/").content.decode()
    assert "Mango of Ratnagiri" in page
    assert "shown" not in page.lower()


@pytest.mark.parametrize("pk", ["abc", "0", "9" * 30])
def test_unknown_product_redirects_to_the_admin_index(admin_client: Client, pk: str) -> None:
    for response in (admin_client.get(f"{LIST_URL}{pk}/change/"), admin_client.post(f"{LIST_URL}{pk}/change/")):
        assert response.status_code == 302
        assert response["Location"] == "/admin/"


@pytest.mark.parametrize("price", ["0", "-1", "0.001", "123456789", "x"])
def test_invalid_price_is_refused(admin_client: Client, price: str) -> None:
    product = make_offer()
    form = {"name": "Mango", "commodity": product.commodity_id, "farm": product.farm_id, "grade": "A", "unit": "kg"}
    response = admin_client.post(f"{LIST_URL}{product.pk}/change/", {**form, "stock": 1, "price": price})
    assert list(response.context["adminform"].form.errors) == ["price"]
    assert Product.objects.get().version == 1


def test_products_are_withdrawn_instead_of_deleted(admin_client: Client) -> None:
    listed, withdrawn = make_offers([{"name": "listed"}, {"name": "withdrawn"}])
    assert "delete_selected" not in admin_client.get(LIST_URL).content.decode()
    assert admin_client.post(f"{LIST_URL}{withdrawn.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{LIST_URL}bulk/?action=withdraw&ids={withdrawn.pk}").status_code == 302
    assert list(Product.objects.listed()) == [listed]
    assert Product.objects.get(pk=withdrawn.pk).version == 2


def test_saving_selected_fields_of_a_product_is_refused() -> None:
    product = make_offer()
    with pytest.raises(ValueError, match="Save the whole"):
        product.save(update_fields=["commodity"])


def test_fields_that_products_copy_cannot_be_edited(admin_client: Client) -> None:
    mango = Commodity.objects.get(slug="mango")
    spices = Commodity.objects.get(slug="turmeric").category_id
    url = reverse("admin:products_commodity_change", args=[mango.pk])
    admin_client.post(url, {"name": "Aam", "slug": "aam", "category": spices})
    mango.refresh_from_db()
    assert (mango.name, mango.slug, mango.category.slug) == ("Aam", "mango", "fruits")


@pytest.mark.parametrize("model", ["category", "commodity", "state", "district", "farm", "product"])
def test_list_search_and_add_pages_open(admin_client: Client, model: str) -> None:
    make_offer()
    for page in ("", "?q=a", "add/"):
        assert admin_client.get(f"/admin/products/{model}/{page}").status_code == 200


@pytest.mark.parametrize(
    ("field", "term", "name"), [("commodity", "turm", "Turmeric"), ("farm", "pat", "Patil Farm, Ratnagiri")]
)
def test_autocomplete_finds_names_by_prefix(admin_client: Client, field: str, term: str, name: str) -> None:
    make_farm()
    query = {"app_label": "products", "model_name": "product", "field_name": field, "term": term}
    results = admin_client.get("/admin/autocomplete/", query).json()["results"]
    assert name in [result["text"] for result in results]


def farms_found(client: Client, term: str) -> list[str]:
    """By the autocomplete of the product's form, and by the list."""
    query = {"app_label": "products", "model_name": "product", "field_name": "farm", "term": term}
    found = [result["text"] for result in client.get("/admin/autocomplete/", query).json()["results"]]
    listed = client.get(FARMS_URL, {"q": term}).context["cl"].result_list
    assert [farm.name for farm in listed][:20] == found
    return found


@pytest.mark.parametrize(
    ("term", "is_found"),
    [
        ("Sharma Organic Farm", True),
        ("  sharma   FARM ", True),
        ("Sharma Farm, Nashik", True),
        ("sharma gan", True),
        ("Organic Farm", False),
        ("Sharma Dairy", False),
        ("Sharma %", False),
        ("sharma " + "farm " * 1000, True),
    ],
)
def test_farm_is_found_by_several_words(admin_client: Client, term: str, is_found: bool) -> None:
    make_farm("Sharma Organic Farm, Nashik (Gangapur)")
    make_farm("Sharp Tools")
    assert farms_found(admin_client, term) == (["Sharma Organic Farm, Nashik (Gangapur)"] if is_found else [])


def test_farm_search_reads_only_names_with_the_first_word(admin_client: Client) -> None:
    district = make_farm("Sharma Organic Farm").district_id
    Farm.objects.bulk_create(Farm(name=f"Farm {n}, organic", district_id=district) for n in range(3000))
    Farm.objects.bulk_create(Farm(name=f"Sharma Dairy {n}", district_id=district) for n in range(50))
    assert farms_found(admin_client, "sharma organic farm") == ["Sharma Organic Farm"]
    assert rows_read(lambda: farms_found(admin_client, "sharma organic farm")) < 400
    assert rows_read(lambda: farms_found(admin_client, "sharma orchard")) < 400
    # Two pages, each with a window.
    for term in ("farm organic", ""):
        assert rows_read(partial(farms_found, admin_client, term)) < 2 * WINDOW_ROWS + 600


def test_anonymous_user_is_sent_to_the_login_page(client: Client) -> None:
    response = client.get(LIST_URL)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def rename(client: Client, model: str, name: str) -> Any:
    row = apps.get_model("products", model)._default_manager.latest("pk")
    return client.post(reverse(f"admin:products_{model}_change", args=[row.pk]), {"name": name})


@pytest.mark.parametrize("model", ["commodity", "farm"])
def test_rename_leads_to_the_job_that_makes_it_searchable(admin_client: Client, model: str) -> None:
    make_offer()
    answer = rename(admin_client, model, "Zubin")
    job = Job.objects.get()
    assert answer["Location"] == reverse("admin:farmlokal_job_change", args=[job.pk])
    assert "This job makes it searchable" in admin_client.get(answer["Location"]).content.decode()
    assert rename(admin_client, model, "Zubin")["Location"] == reverse(f"admin:products_{model}_changelist")
    assert Job.objects.get() == job


def test_rename_by_staff_who_may_not_view_jobs_shows_the_list(client: Client) -> None:
    make_farm()
    client.force_login(make_staff("change_farm", "view_farm"))
    assert rename(client, "farm", "Zubin")["Location"] == FARMS_URL
    assert Job.objects.exists()
