"""Every combination of filters, search and sort, walked there and back, against an oracle that knows no SQL.

The oracle filters and sorts the rows that were put in, with its own idea of words and of order. Half of
the walks go through plans that nobody would choose, with budgets that end nearly every page early: the
way to an answer may never change it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
import re
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dev.testing.offers import make_farm, make_offers
from dev.testing.walks import SORTS, ids, walk
from products.listing import plans, statistics
from products.models import Commodity, Product

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.usefixtures("live_database")

ROWS = 200
DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FARMS = {"Patil Farm": "ratnagiri", "Nair Organic Farm": "erode", "Patel Fields": "north-goa", "आम बाग": "south-goa"}
COMMODITIES = ["mango", "onion", "turmeric", "potato", "mangosteen"]
NAMES = ["Mango", "MANGO ripe", "Äpple Mango", "mangosteen", "Onion, red", "onion-red", "Potato", "आम", "l'orange 4"]
VARIETIES = ["", "Alphonso", "Organic", "Manga 2"]


@pytest.fixture(scope="module")
def rows(live_database: None) -> list[dict[str, Any]]:
    """What the oracle knows of each product: plain values, and the text of each field that is searched."""
    rng = random.Random(7)
    farms = {name: make_farm(name, district) for name, district in FARMS.items()}
    commodities = {slug: Commodity.objects.select_related("category").get(slug=slug) for slug in COMMODITIES}
    chosen = [
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
    products = make_offers(chosen)
    statistics.forget()
    return [known(pk, row) for pk, row in zip((p.pk for p in products), chosen, strict=True) if row["is_active"]]


def known(pk: int, row: dict[str, Any]) -> dict[str, Any]:
    place = row["farm"].district
    texts = [row["name"], row["variety"], row["commodity"].name, row["farm"].name, place.name, place.state.name]
    return row | {
        "id": pk,
        "category": row["commodity"].category.slug,
        "commodity": row["commodity"].slug,
        "farm": row["farm"].pk,
        "district": place.slug,
        "state": place.state.slug,
        "words": set(itertools.chain.from_iterable(cut(text) for text in texts)),
    }


def plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not "\u0300" <= c <= "\u036f")


def cut(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[\u0900-\u097f]+", plain(text))


def matches(row: dict[str, Any], query: list[tuple[str, str]]) -> bool:
    asked: dict[str, list[str]] = {}
    for name, value in query:
        asked.setdefault(name, []).append(value)
    for name, values in asked.items():
        value = values[0]
        match name:
            case "q":
                words = cut(value)
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


KEYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "created_at": lambda r: r["created_at"],
    "price": lambda r: r["price"],
    "name": lambda r: order_of(r["name"]),
}


def order_of(name: str) -> tuple[int, ...]:
    """The order of NAMES by utf8mb4_unicode_ci, written down by hand: punctuation and blanks come first."""
    by_hand = [
        "Äpple Mango",
        "l'orange 4",
        "Mango",
        "MANGO ripe",
        "mangosteen",
        "onion-red",
        "Onion, red",
        "Potato",
        "आम",
    ]
    return (by_hand.index(name),)


def expected(rows: list[dict[str, Any]], query: list[tuple[str, str]], sort: str) -> list[int]:
    found = [row for row in rows if matches(row, query)]
    key = KEYS[sort.removeprefix("-")]
    return [row["id"] for row in sorted(found, key=lambda r: (key(r), r["id"]), reverse=sort.startswith("-"))]


words = ["mango", "MANGO", "man", "mangos", "onion", "red", "äpple", "apple", "ORGANIC", "org", "farm", "patil", "a"]
words += [
    "goa",
    "ratnagiri",
    "maharashtra",
    "4",
    "2",
    "l",
    "orange",
    "आम",
    "बाग",
    "nothing",
    "tur",
    "turmeric",
    "mangi",
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
    chosen = draw(st.lists(st.sampled_from(sorted(filters)), max_size=4, unique=True))
    pairs: list[tuple[str, str]] = []
    value: Any
    for name in chosen:
        value = draw(filters[name])
        pairs += [(name, item) for item in value] if isinstance(value, list) else [(name, value)]
    given_prices = dict(pairs)
    if Decimal(given_prices.get("price_min", 0)) > Decimal(given_prices.get("price_max", 10**8)):
        pairs = [pair for pair in pairs if pair[0] != "price_min"]
    return pairs


def walks(
    client: Client,
    rows: list[dict[str, Any]],
    query: list[tuple[str, str]],
    sort: str,
    limit: int,
    *,
    is_one_plan: bool,
) -> None:
    url = f"/products?{urlencode([*query, ('sort', sort), ('limit', limit)])}"
    there = list(walk(client, url, at_most=2 * ROWS))
    assert [pk for page in there for pk in ids(page)] == expected(rows, query, sort)
    back = list(walk(client, there[-1]["previous"], "previous", at_most=2 * ROWS))
    seen = [ids(page) for page in reversed(back)]
    assert [pk for page in seen for pk in page] + ids(there[-1]) == expected(rows, query, sort)
    if is_one_plan:
        assert seen == [ids(page) for page in there[:-1]]


COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)


@settings(COMMON, max_examples=1500)
@given(query=query_strings(), sort=st.sampled_from(SORTS), limit=st.sampled_from([9, 25, 100]))
def test_any_combination_matches_the_oracle(
    client: Client, rows: list[dict[str, Any]], query: list[tuple[str, str]], sort: str, limit: int
) -> None:
    walks(client, rows, query, sort, limit, is_one_plan=True)


@settings(COMMON, max_examples=200)
@given(query=query_strings(), sort=st.sampled_from(SORTS), budget=st.sampled_from([101, 130, 150, 180]))
def test_pages_cut_by_the_budget_are_equal_in_both_directions(
    client: Client, rows: list[dict[str, Any]], query: list[tuple[str, str]], sort: str, budget: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "MIN_BUDGET", budget)
        patch.setattr(plans, "MAX_BUDGET", budget)
        patch.setattr(plans, "_cheapest", lambda options: options[0][1])
        wanted = expected(rows, query, sort)
        if len(wanted) < 100:  # else the limit ends pages too
            walks(client, rows, query, sort, 100, is_one_plan=True)


@settings(COMMON, max_examples=400)
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
        patch.setattr(plans, "_cheapest", lambda options: rng.choice(options)[1])
        walks(client, rows, query, sort, limit, is_one_plan=False)


def test_oracle_knows_every_listed_product(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == Product.objects.listed().count() > 150
