"""Random combinations of filters, search and sort, walked in both directions and compared with an oracle.

The oracle filters and sorts plain Python values, by its own definition of words and order. Some walks force other
plans, or budgets that cut most pages short: neither may change the results.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.testing.offers import make_offers
from dev.testing.walks import SORTS, forget_pages, ids, walk
from products.listing import plans
from products.models import Commodity, District, Farm, Product

pytestmark = pytest.mark.usefixtures("live_database")

ROWS = 200
DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FARMS = {"Patil Farm": "ratnagiri", "Nair Organic Farm": "erode", "Patel Fields": "north-goa", "आम बाग": "south-goa"}
COMMODITIES = ["mango", "onion", "turmeric", "potato", "mangosteen"]
NAMES = ["Mango", "MANGO ripe", "Äpple Mango", "mangosteen", "Onion, red", "onion-red", "Potato", "आम", "l'orange 4"]
VARIETIES = ["", "Alphonso", "Organic", "Manga 2"]


@pytest.fixture(scope="module")
def rows(live_database: None) -> list[dict[str, Any]]:
    """Each listed product, as plain values for the oracle."""
    rng = random.Random(7)
    farms = {
        name: Farm.objects.create(pk=pk, name=name, district=District.objects.get(slug=district))
        for pk, (name, district) in enumerate(FARMS.items(), 1)
    }
    commodities = {slug: Commodity.objects.select_related("category").get(slug=slug) for slug in COMMODITIES}
    values = [
        {
            "name": rng.choice(NAMES),
            "variety": rng.choice(VARIETIES),
            "commodity": commodities[rng.choices(COMMODITIES, [60, 20, 10, 5, 5])[0]],
            "farm": farms[rng.choices(list(FARMS), [70, 20, 8, 2])[0]],
            "price": rng.choice([Decimal("1.00"), Decimal("2.50"), Decimal("2.51"), Decimal("49.00"), Decimal(700)]),
            "stock": rng.choice([0, 0, 5, 900]),
            "organic": rng.random() < 0.1,
            "is_active": rng.random() < 0.9,
            "created_at": DAY + dt.timedelta(microseconds=rng.choice([0, 1, 2, 3_600_000_000])),
        }
        for _ in range(ROWS)
    ]
    products = make_offers(values)
    return [oracle_row(p.pk, row) for p, row in zip(products, values, strict=True) if row["is_active"]]


def oracle_row(pk: int, row: dict[str, Any]) -> dict[str, Any]:
    district = row["farm"].district
    texts = [row["name"], row["variety"], row["commodity"].name, row["farm"].name, district.name, district.state.name]
    return row | {
        "id": pk,
        "category": row["commodity"].category.slug,
        "commodity": row["commodity"].slug,
        "farm": row["farm"].pk,
        "district": district.slug,
        "state": district.state.slug,
        "words": set(itertools.chain.from_iterable(split_words(text) for text in texts)),
    }


def without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not "\u0300" <= c <= "\u036f")


def split_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[\u0900-\u097f]+", without_accents(text))


def matches(row: dict[str, Any], query: list[tuple[str, str]]) -> bool:
    values_of: dict[str, list[str]] = {}
    for name, value in query:
        values_of.setdefault(name, []).append(value)
    for name, values in values_of.items():
        value = values[0]
        match name:
            case "q":
                words = split_words(value)
                passes = bool(words) and all(word in row["words"] for word in words[:-1])
                if passes and words[-1] not in row["words"]:
                    passes = len(words[-1]) >= 3 and any(word.startswith(words[-1]) for word in row["words"])
            case "price_min":
                passes = row["price"] >= Decimal(value)
            case "price_max":
                passes = row["price"] <= Decimal(value)
            case "organic":
                passes = row["organic"] == (value == "true")
            case "in_stock":
                passes = (row["stock"] > 0) == (value == "true")
            case _:
                passes = str(row[name]) in values
        if not passes:
            return False
    return True


# By utf8mb4_unicode_ci: punctuation and blanks come first.
SORTED_NAMES = [
    *("Äpple Mango", "l'orange 4", "Mango", "MANGO ripe", "mangosteen"),
    *("onion-red", "Onion, red", "Potato", "आम"),
]
KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "created_at": lambda row: row["created_at"],
    "price": lambda row: row["price"],
    "name": lambda row: SORTED_NAMES.index(row["name"]),
}


def expected(rows: list[dict[str, Any]], query: list[tuple[str, str]], sort: str) -> list[int]:
    matching = [row for row in rows if matches(row, query)]
    key = KEYS[sort.removeprefix("-")]
    return [row["id"] for row in sorted(matching, key=lambda r: (key(r), r["id"]), reverse=sort.startswith("-"))]


words = [
    *("mango", "MANGO", "man", "mangos", "mangi", "onion", "red", "äpple", "apple", "ORGANIC", "org", "tur", "farm"),
    *("turmeric", "patil", "goa", "ratnagiri", "maharashtra", "a", "4", "2", "l", "orange", "आम", "बाग", "nothing"),
]
queries = st.lists(st.sampled_from(words), min_size=1, max_size=3).map(" ".join) | st.sampled_from(["++", "🥭", "l'or"])
filters: dict[str, st.SearchStrategy[Any]] = {
    "q": queries,
    "category": st.lists(st.sampled_from(["fruits", "vegetables", "spices", "cereals"]), min_size=1, max_size=3),
    "commodity": st.sampled_from([*COMMODITIES, "rice", "unknown"]),
    "state": st.sampled_from(["goa", "maharashtra", "tamil-nadu", "assam"]),
    "district": st.sampled_from(["ratnagiri", "erode", "north-goa", "south-goa", "unknown"]),
    "farm": st.integers(0, 6).map(str),
    "price_min": st.sampled_from(["0", "2.5", "2.51", "700"]),
    "price_max": st.sampled_from(["700.00", "2.5", "49", "99999999"]),
    "organic": st.sampled_from(["true", "false"]),
    "in_stock": st.sampled_from(["true", "false"]),
}


@st.composite
def query_strings(draw: st.DrawFn) -> list[tuple[str, str]]:
    names = draw(st.lists(st.sampled_from(sorted(filters)), max_size=4, unique=True))
    pairs: list[tuple[str, str]] = []
    value: Any
    for name in names:
        value = draw(filters[name])
        pairs += [(name, item) for item in value] if isinstance(value, list) else [(name, value)]
    values = dict(pairs)
    if Decimal(values.get("price_min", 0)) > Decimal(values.get("price_max", 10**8)):
        pairs = [pair for pair in pairs if pair[0] != "price_min"]
    return pairs


def assert_walks_match(
    client: Client,
    rows: list[dict[str, Any]],
    query: list[tuple[str, str]],
    sort: str,
    limit: int,
    *,
    same_pages: bool,
) -> None:
    """same_pages: pages also begin and end at the same products in both directions."""
    forget_pages()  # an earlier example may have read them by another plan or budget
    url = f"/products?{urlencode([*query, ('sort', sort), ('limit', limit)])}"
    forward = list(walk(client, url, max_pages=2 * ROWS))
    assert [pk for page in forward for pk in ids(page)] == expected(rows, query, sort)
    backward = list(walk(client, forward[-1]["previous"], "previous", max_pages=2 * ROWS))
    pages = [ids(page) for page in reversed(backward)]
    assert [pk for page in pages for pk in page] + ids(forward[-1]) == expected(rows, query, sort)
    if same_pages:
        assert pages == [ids(page) for page in forward[:-1]]


COMMON = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], database=None)


@settings(COMMON, max_examples=1500)
@given(query=query_strings(), sort=st.sampled_from(SORTS), limit=st.sampled_from([9, 25, 100]))
def test_any_combination_matches_the_oracle(
    client: Client, rows: list[dict[str, Any]], query: list[tuple[str, str]], sort: str, limit: int
) -> None:
    assert_walks_match(client, rows, query, sort, limit, same_pages=True)


@settings(COMMON, max_examples=200)
@given(query=query_strings(), sort=st.sampled_from(SORTS), budget=st.sampled_from([101, 130, 150, 180]))
def test_pages_cut_by_the_budget_are_equal_in_both_directions(
    client: Client, rows: list[dict[str, Any]], query: list[tuple[str, str]], sort: str, budget: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "MIN_BUDGET", budget)
        patch.setattr(plans, "MAX_BUDGET", budget)
        patch.setattr(plans, "cheapest", lambda options: options[0][1])
        if len(expected(rows, query, sort)) < 100:  # otherwise the limit ends pages, too
            assert_walks_match(client, rows, query, sort, 100, same_pages=True)


@settings(COMMON, max_examples=250)
@given(
    query=query_strings(),
    sort=st.sampled_from(SORTS),
    limit=st.sampled_from([4, 25, 100]),
    budget=st.sampled_from([1, 12, 40]),
    seed=st.integers(0, 1000),
)
def test_plan_and_budget_never_change_the_results(
    client: Client,
    rows: list[dict[str, Any]],
    query: list[tuple[str, str]],
    sort: str,
    limit: int,
    budget: int,
    seed: int,
) -> None:
    rng = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "MIN_BUDGET", budget)
        patch.setattr(plans, "MAX_BUDGET", budget)
        patch.setattr(plans, "cheapest", lambda options: rng.choice(options)[1])
        assert_walks_match(client, rows, query, sort, limit, same_pages=False)


def test_oracle_knows_every_listed_product(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == Product.objects.listed().count() > 150
