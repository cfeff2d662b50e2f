"""The names of categories, commodities, states and districts, and how pages learn of changes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from dev.testing.offers import make_offer
from products.models import Category, Commodity, District, State, VocabularyVersion
from products.seeding import agmarknet


@pytest.mark.django_db
def test_migrations_load_the_agmarknet_lists() -> None:
    assert (Category.objects.count(), Commodity.objects.count()) == (16, 604)
    assert (State.objects.count(), District.objects.count()) == (36, 739)
    assert Commodity.objects.get(slug="turmeric").category.name == "Spices"
    assert District.objects.get(slug="ratnagiri").state.slug == "maharashtra"


def test_equal_names_under_two_parents_have_distinct_slugs() -> None:
    slugs = agmarknet.district_slugs()
    assert slugs["Uttar Pradesh", "Pratapgarh"] == "pratapgarh-uttar-pradesh"
    assert slugs["Rajasthan", "Pratapgarh"] == "pratapgarh-rajasthan"
    assert slugs["Maharashtra", "Pune"] == "pune"
    assert len(set(slugs.values())) == 739
    assert len(set(agmarknet.commodity_slugs().values())) == 604


@pytest.mark.django_db
def test_renamed_commodity_is_shown_and_loaded_once(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    product = make_offer()
    client.get("/products")
    with django_assert_num_queries(1):
        client.get("/products")

    commodity = product.commodity
    commodity.name = "Aam"
    commodity.save()

    with django_assert_num_queries(5):  # the page, and the four lists
        page = client.get("/products").json()
    assert page["results"][0]["commodity"] == {"slug": "mango", "name": "Aam"}
    with django_assert_num_queries(1):
        client.get("/products")


@pytest.mark.usefixtures("live_database")
def test_rename_by_another_process_is_shown(client: Client, database_environment: dict[str, str]) -> None:
    make_offer()
    client.get("/products")
    version = VocabularyVersion.objects.get().version
    rename = "from products.models import State; s = State.objects.get(slug='maharashtra'); s.name = {!r}; s.save()"

    for name in ("Maharashtra State", "Maharashtra"):
        subprocess.run(
            [sys.executable, "manage.py", "shell", "-c", rename.format(name)], env=database_environment, check=True
        )
        assert client.get("/products").json()["results"][0]["state"]["name"] == name
    assert VocabularyVersion.objects.get().version != version
