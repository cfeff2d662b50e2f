"""Generates a plausible catalogue of any size from the AGMARKNET lists.

The same seed and ids give the same rows on every machine. A row is a tuple of texts, one for each of FARM_COLUMNS or
PRODUCT_COLUMNS, for LOAD DATA and INSERT alike.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.utils.text import slugify

from products.models import Commodity, District, Product
from products.search.words import joined, words_of
from products.seeding import agmarknet
from products.seeding.bulk_loader import Row

FARM_COLUMNS = ("id", "name", "district_id")
PRODUCT_COLUMNS = (
    *("id", "name", "slug", "description", "commodity_id", "category_id", "variety", "grade"),
    *("farm_id", "district_id", "state_id", "price", "unit", "stock", "organic", "is_active"),
    *("version", "words", "created_at", "updated_at"),
)
PRODUCTS_PER_FARM = 200
BATCH_ROWS = 10_000

# The most frequent commodities. All others follow in the order of the lists.
STAPLES = (
    *("Tomato", "Onion", "Potato", "Mango", "Rice", "Wheat", "Banana", "Turmeric", "Apple", "Green Chilli", "Brinjal"),
    *("Cauliflower", "Cabbage", "Bhindi(Ladies Finger)", "Garlic", "Ginger(Green)", "Carrot", "Orange", "Grapes"),
    *("Pomegranate", "Coconut", "Maize", "Groundnut", "Honey", "Black pepper", "Cardamom", "Lemon", "Papaya"),
)
# Rupees a unit: (typical price, unit) by commodity group.
PRICES = {
    "Beverages": (320, "kg"),
    "Cereals": (42, "kg"),
    "Drug and Narcotics": (260, "kg"),
    "Dry Fruits": (780, "kg"),
    "Fibre Crops": (6200, "quintal"),
    "Flowers": (45, "bunch"),
    "Forest Products": (90, "kg"),
    "Fruits": (95, "kg"),
    "Live Stock,Poultry,Fisheries": (2400, "piece"),
    "Medicinal and Aromatic Plants": (210, "kg"),
    "Oil Seeds": (85, "kg"),
    "Oils and Fats": (240, "litre"),
    "Others": (75, "kg"),
    "Pulses": (110, "kg"),
    "Spices": (360, "kg"),
    "Vegetables": (38, "kg"),
}
UNITS = {"Banana": "dozen", "Egg": "dozen", "Coconut": "piece", "Tender Coconut": "piece"}
SPELLINGS = {"Hapus(Alphaso)": "Alphonso", "Keshar": "Kesar", "Dusheri": "Dasheri"}
GRADES = (("A", 1.25, 5), ("B", 1.0, 4), ("C", 0.8, 2))  # grade, factor of the price, share
SURNAMES = (
    *("Patil", "Reddy", "Sharma", "Singh", "Gowda", "Nair", "Das", "Yadav", "Kulkarni", "Naidu", "Verma", "Choudhary"),
    *("Pillai", "Bora", "Rathore", "Shinde", "Iyer", "Mondal", "Thakur", "Hegde", "Jadhav", "Mishra", "Rao", "Kaur"),
    *("Meena", "Deshmukh", "Bhat", "Gogoi", "Sethi", "Solanki", "Menon", "Ghosh", "Pawar", "Rawat", "Lepcha", "Murmu"),
)
FARM_KINDS = ("Farm", "Farms", "Organic Farm", "Agro Farm", "Family Farm", "Orchards", "Krishi Farm", "Natural Farm")

# Some rows share one moment or one price, as after an import or in a sale. Paginators tend to fail among equal values.
IMPORT_SHARE = 0.10
IMPORT_MOMENT = "2026-01-15 06:30:00.000000"
SALE_SHARE = 0.10
SALE_PRICE = "49.00"
ORGANIC_SHARE = 0.08  # in addition to the varieties that are organic by name
FIRST_DAY = dt.date(2024, 7, 1)
DAYS = 730


class Offer(NamedTuple):
    """The values that all products of one commodity, variety and grade share."""

    name: str
    slug: str
    lead: str
    commodity_id: str
    category_id: str
    variety: str
    grade: str
    price: float
    unit: str
    is_organic: bool
    words: frozenset[str]


class Place(NamedTuple):
    """The values that all products of one farm share."""

    farm_id: str
    district_id: str
    state_id: str
    tail: str
    words: frozenset[str]


def farm_rows(seed: int, count: int, first_id: int = 1) -> list[Row]:
    rng = random.Random(f"farms {seed} {first_id}")
    districts = list(District.objects.order_by("slug").values_list("pk", "name"))
    chosen = rng.choices(districts, k=count)
    return [
        (str(first_id + i), f"{rng.choice(SURNAMES)} {rng.choice(FARM_KINDS)}, {name}", str(pk))
        for i, (pk, name) in enumerate(chosen)
    ]


def product_rows(seed: int, count: int, farms: Sequence[Row], first_id: int = 1) -> Iterator[Row]:
    rng = random.Random(f"products {seed} {first_id}")
    offers, offer_weights = _offers()
    places = _places(farms)
    place_weights = list(itertools.accumulate(1 / (20 + rank) for rank in range(len(places))))
    days = [str(FIRST_DAY + dt.timedelta(days=n)) for n in range(DAYS)]
    clock = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(24 * 3600)]
    uniform, lognormal = rng.random, rng.lognormvariate
    for start in range(0, count, BATCH_ROWS):
        size = min(BATCH_ROWS, count - start)
        batch = zip(
            range(first_id + start, first_id + start + size),
            rng.choices(offers, cum_weights=offer_weights, k=size),
            rng.choices(places, cum_weights=place_weights, k=size),
            rng.choices(days, k=size),
            rng.choices(clock, k=size),
            strict=True,
        )
        for pk, offer, place, day, time in batch:
            price = SALE_PRICE
            if uniform() >= SALE_SHARE:
                price = f"{max(1.0, round(offer.price * lognormal(0, 0.25) * 2) / 2):.2f}"
            moment = IMPORT_MOMENT
            if uniform() >= IMPORT_SHARE:
                moment = f"{day} {time}.{int(uniform() * 1_000_000):06}"
            stock = int(uniform() * 550) - 50
            yield (
                str(pk),
                offer.name,
                offer.slug,
                offer.lead + place.tail,
                offer.commodity_id,
                offer.category_id,
                offer.variety,
                offer.grade,
                place.farm_id,
                place.district_id,
                place.state_id,
                price,
                offer.unit,
                str(stock) if stock > 0 else "0",
                "1" if offer.is_organic or uniform() < ORGANIC_SHARE else "0",
                "1",
                "1",
                joined(offer.words | place.words),
                moment,
                moment,
            )


def _offers() -> tuple[list[Offer], list[float]]:
    """All offers with cumulative weights: Zipf for commodities, equal for the varieties of a commodity."""
    slugs = agmarknet.commodity_slugs()
    keys = {
        slug: (str(pk), str(category))
        for pk, slug, category in Commodity.objects.values_list("pk", "slug", "category_id")
    }
    entries = agmarknet.lists()["commodities"]
    rank = {name: place for place, name in enumerate(STAPLES)}
    entries = sorted(entries, key=lambda entry: rank.get(entry["name"], len(rank)))
    offers: list[Offer] = []
    weights: list[float] = []
    for place, entry in enumerate(entries, start=1):
        commodity_id, category_id = keys[slugs[entry["group"], entry["name"]]]
        base, usual_unit = PRICES[entry["group"]]
        unit = UNITS.get(entry["name"], usual_unit)
        label = Product.Unit(unit).label
        spread = random.Random(entry["name"]).uniform(0.6, 1.6)
        plain = _plain(entry["name"])
        varieties = _varieties(entry["varieties"], plain)
        for variety, is_organic in varieties:
            title = variety if plain.lower() in variety.lower() else f"{variety} {plain}".strip()
            for grade, factor, share in GRADES:
                name = f"{'Organic ' if is_organic else ''}{title}, Grade {grade}"
                offers.append(
                    Offer(
                        name=name,
                        slug=slugify(name, allow_unicode=True),
                        lead=f"{title} of grade {grade}, sold by the {label}, from ",
                        commodity_id=commodity_id,
                        category_id=category_id,
                        variety=variety,
                        grade=grade,
                        price=base * spread * factor,
                        unit=unit,
                        is_organic=is_organic,
                        words=frozenset(words_of(f"{name} {variety} {entry['name']}")),
                    )
                )
                weights.append(share / place / len(varieties))
    return offers, list(itertools.accumulate(weights))


def _varieties(names: Sequence[str], commodity: str) -> list[tuple[str, bool]]:
    """(common name, is organic) of each variety, without the lists' grades and lot numbers."""
    varieties: dict[tuple[str, bool], None] = {("", False): None}
    for name in names:
        is_organic = "organic" in name.lower()
        plain = _plain(SPELLINGS.get(name, name)).removesuffix(commodity).strip(" -")
        if is_organic or re.fullmatch(r"[A-Za-z][A-Za-z ']{3,}", plain):
            varieties["" if is_organic or plain in ("Other", "Others") else plain, is_organic] = None
    return list(varieties)


def _plain(name: str) -> str:
    """Pegeon Pea(Arhar Fali) -> Pegeon Pea"""
    name = re.split(r"[(/]", name)[0].strip(" -")
    return name[:1].upper() + name[1:]


def _places(farms: Sequence[Row]) -> list[Place]:
    districts = {
        str(pk): (name, str(state_id), state)
        for pk, name, state_id, state in District.objects.values_list("pk", "name", "state_id", "state__name")
    }
    return [
        Place(
            farm_id,
            district_id,
            districts[district_id][1],
            f"{name}, {districts[district_id][2]}.",
            frozenset(words_of(" ".join([name, districts[district_id][0], districts[district_id][2]]))),
        )
        for farm_id, name, district_id in farms
    ]
